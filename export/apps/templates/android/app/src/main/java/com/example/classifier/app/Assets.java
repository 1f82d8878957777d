package com.example.classifier.app;

import android.content.res.AssetManager;

import com.example.classifier.Classifier;
import com.example.classifier.Settings;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** The classifier in an app's assets. A newer bundle needs other assets, not another program. */
public final class Assets {
    private Assets() {}

    /** Throws IOException for an absent file, RuntimeException for files that do not fit. */
    public static Classifier classifier(AssetManager assets) throws IOException {
        Settings settings = new Settings(text(assets, "classifier.json"));
        String[] labels = text(assets, "labels.txt").split("\n");
        float[] prototypes = new float[0];
        if (settings.rejection != null && settings.rejection.prototypes != null) {
            prototypes = floats(bytes(assets, settings.rejection.prototypes));
        }
        int threads = Math.min(4, Runtime.getRuntime().availableProcessors());
        ModelEngine engine = new ModelEngine(bytes(assets, settings.model), threads);
        return new Classifier(settings, Arrays.asList(labels), prototypes, engine);
    }

    public static byte[] bytes(AssetManager assets, String name) throws IOException {
        try (InputStream stream = assets.open(name)) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            byte[] block = new byte[1 << 16];
            for (int count = stream.read(block); count >= 0; count = stream.read(block)) {
                out.write(block, 0, count);
            }
            return out.toByteArray();
        }
    }

    /** Little-endian float32. */
    public static float[] floats(byte[] data) {
        float[] out = new float[data.length / 4];
        ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(out);
        return out;
    }

    private static String text(AssetManager assets, String name) throws IOException {
        return new String(bytes(assets, name), StandardCharsets.UTF_8);
    }
}
