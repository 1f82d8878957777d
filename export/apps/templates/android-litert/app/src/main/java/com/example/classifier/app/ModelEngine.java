package com.example.classifier.app;

import com.example.classifier.Engine;
import com.example.classifier.Steps;

import org.tensorflow.lite.DataType;
import org.tensorflow.lite.Interpreter;
import org.tensorflow.lite.Tensor;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;

/** A .tflite file in LiteRT, on the CPU with XNNPACK. Outputs: logits and, maybe, features. */
final class ModelEngine implements Engine {
    private final Interpreter interpreter;

    ModelEngine(byte[] model, int threads) {
        ByteBuffer data = ByteBuffer.allocateDirect(model.length).order(ByteOrder.nativeOrder());
        data.put(model);
        data.rewind();
        interpreter = new Interpreter(data, new Interpreter.Options().setNumThreads(threads));
    }

    @Override
    public Outputs run(float[] input, boolean features) {
        Object[] inputs = {written(input, interpreter.getInputTensor(0))};
        Map<Integer, Object> outputs = new HashMap<>();
        outputs.put(0, buffer(interpreter.getOutputTensor(0)));
        if (features) outputs.put(1, buffer(interpreter.getOutputTensor(1)));
        interpreter.runForMultipleInputsOutputs(inputs, outputs);
        return new Outputs(read(outputs, 0), features ? read(outputs, 1) : new float[0]);
    }

    @Override
    public void close() {
        interpreter.close();
    }

    private static ByteBuffer buffer(Tensor tensor) {
        return ByteBuffer.allocateDirect(tensor.numBytes()).order(ByteOrder.nativeOrder());
    }

    /** Values as float32, or as the int8 steps that the file says. */
    private static ByteBuffer written(float[] values, Tensor tensor) {
        ByteBuffer out = buffer(tensor);
        if (tensor.dataType() == DataType.INT8) {
            Steps steps = steps(tensor);
            for (float value : values) out.put(steps.of(value));
        } else {
            out.asFloatBuffer().put(values);
        }
        out.rewind();
        return out;
    }

    private float[] read(Map<Integer, Object> outputs, int index) {
        Tensor tensor = interpreter.getOutputTensor(index);
        ByteBuffer data = (ByteBuffer) outputs.get(index);
        data.rewind();
        float[] out = new float[tensor.numElements()];
        if (tensor.dataType() == DataType.INT8) {
            Steps steps = steps(tensor);
            for (int i = 0; i < out.length; i++) out[i] = steps.value(data.get(i));
        } else {
            data.asFloatBuffer().get(out);
        }
        return out;
    }

    private static Steps steps(Tensor tensor) {
        Tensor.QuantizationParams how = tensor.quantizationParams();
        return new Steps(how.getScale(), how.getZeroPoint());
    }
}
