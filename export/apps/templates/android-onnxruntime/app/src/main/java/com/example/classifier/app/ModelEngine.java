package com.example.classifier.app;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;

import com.example.classifier.Engine;

import java.nio.FloatBuffer;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.Set;

/** A model in onnxruntime, on the CPU. Its outputs go by name: logits and, maybe, features. */
final class ModelEngine implements Engine {
    private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
    private final OrtSession session;
    private final String input;

    ModelEngine(byte[] model, int threads) {
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(threads);
            session = environment.createSession(model, options);
            input = session.getInputNames().iterator().next();
        } catch (OrtException error) {
            throw new IllegalStateException(error.getMessage(), error);
        }
    }

    @Override
    public Outputs run(float[] values, boolean features) {
        long edge = Math.round(Math.sqrt(values.length / 3.0));
        long[] shape = {1, 3, edge, edge};
        Set<String> names = new LinkedHashSet<>(Collections.singleton("logits"));
        if (features) names.add("features");
        FloatBuffer data = FloatBuffer.wrap(values);
        try (OnnxTensor tensor = OnnxTensor.createTensor(environment, data, shape);
                OrtSession.Result result =
                        session.run(Collections.singletonMap(input, tensor), names)) {
            return new Outputs(read(result, 0), features ? read(result, 1) : new float[0]);
        } catch (OrtException error) {
            throw new IllegalStateException(error.getMessage(), error);
        }
    }

    @Override
    public void close() {
        try {
            session.close();
        } catch (OrtException error) {
            throw new IllegalStateException(error.getMessage(), error);
        }
    }

    private static float[] read(OrtSession.Result result, int index) {
        FloatBuffer data = ((OnnxTensor) result.get(index)).getFloatBuffer();
        float[] out = new float[data.remaining()];
        data.get(out);
        return out;
    }
}
