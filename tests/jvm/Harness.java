package com.example.classifier;

import java.awt.image.BufferedImage;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.List;
import javax.imageio.ImageIO;

/**
 * The Android app's core on a JVM, for the tests in Python.
 *
 * <pre>
 * crops FOLDER         per case: SHA-256 of the crop and of the input
 * scores FOLDER K      per row of rows.f32, K logits first: score and whether it is known
 * steps SCALE POINT    int8 steps of the floats on stdin, and what they are worth
 * white                every level at every opacity, on white
 * json FILE            what classifier.json says, as the app reads it
 * classify ASSETS F... per image: index, probability, known; the model runs at the other end:
 *                      "R" and the input go out, logits and features come back
 * </pre>
 */
public final class Harness {
    public static void main(String[] arguments) throws Exception {
        List<String> rest = Arrays.asList(arguments).subList(1, arguments.length);
        switch (arguments[0]) {
            case "crops": crops(new File(rest.get(0))); break;
            case "scores": scores(new File(rest.get(0)), Integer.parseInt(rest.get(1))); break;
            case "steps": steps(Float.parseFloat(rest.get(0)), Integer.parseInt(rest.get(1))); break;
            case "white": white(); break;
            case "json": json(new File(rest.get(0))); break;
            case "classify": classify(new File(rest.get(0)), rest.subList(1, rest.size())); break;
            default: throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static void crops(File folder) throws Exception {
        for (int i = 0; new File(folder, i + ".json").exists(); i++) {
            Settings settings = new Settings(text(new File(folder, i + ".json")));
            byte[] crop = Preprocess.geometry(pixels(new File(folder, i + ".png")), settings);
            float[] input = Preprocess.normalize(crop, settings);
            System.out.println(sha(crop) + " " + sha(bytes(input)));
        }
    }

    private static void scores(File folder, int classes) throws IOException {
        Settings settings = new Settings(text(new File(folder, "classifier.json")));
        float[] prototypes = floats(Files.readAllBytes(new File(folder, "prototypes.f32").toPath()));
        float[] rows = floats(Files.readAllBytes(new File(folder, "rows.f32").toPath()));
        int width = classes + prototypes.length / classes;
        Rejection rejection = new Rejection(settings.rejection, prototypes);
        for (int at = 0; at < rows.length; at += width) {
            Engine.Outputs outputs = new Engine.Outputs(
                    Arrays.copyOfRange(rows, at, at + classes),
                    Arrays.copyOfRange(rows, at + classes, at + width));
            System.out.println(rejection.score(outputs) + " " + rejection.known(outputs));
        }
    }

    private static void steps(float scale, int point) throws IOException {
        Steps steps = new Steps(scale, point);
        for (float value : floats(new DataInputStream(System.in).readAllBytes())) {
            byte step = steps.of(value);
            System.out.println(step + " " + Float.floatToIntBits(steps.value(step)));
        }
    }

    private static void white() {
        StringBuilder out = new StringBuilder();
        for (int alpha = 0; alpha < 256; alpha++) {
            for (int value = 0; value < 256; value++) {
                out.append(Preprocess.onWhite(alpha << 24 | value * 0x010101)).append('\n');
            }
        }
        System.out.print(out);
    }

    private static void json(File file) throws IOException {
        Settings settings = new Settings(text(file));
        System.out.println(settings.title);
        System.out.println(settings.model + " " + settings.precision + " " + settings.golden);
        System.out.println(settings.size + " " + settings.resize + " " + settings.bicubic);
        System.out.println(Arrays.toString(settings.mean) + " " + Arrays.toString(settings.std));
        System.out.println(settings.temperature + " " + settings.tolerance);
        System.out.println(settings.rejection == null ? "no rejection" : settings.rejection.score);
    }

    private static void classify(File assets, List<String> images) throws IOException {
        Settings settings = new Settings(text(new File(assets, "classifier.json")));
        List<String> labels = Arrays.asList(text(new File(assets, "labels.txt")).split("\n"));
        float[] prototypes = new float[0];
        if (settings.rejection != null && settings.rejection.prototypes != null) {
            File file = new File(assets, settings.rejection.prototypes);
            prototypes = floats(Files.readAllBytes(file.toPath()));
        }
        DataOutputStream out = new DataOutputStream(System.out);
        DataInputStream in = new DataInputStream(System.in);
        Engine engine = new Engine() {
            @Override
            public Outputs run(float[] input, boolean features) {
                try {
                    out.write('R');
                    out.write(bytes(input));
                    out.flush();
                    float[] logits = read(in);
                    float[] row = read(in);
                    return new Outputs(logits, features ? row : new float[0]);
                } catch (IOException error) {
                    throw new IllegalStateException(error);
                }
            }

            @Override
            public void close() {}
        };
        try (Classifier classifier = new Classifier(settings, labels, prototypes, engine)) {
            for (String image : images) {
                String line;
                try {
                    Classifier.Answer answer = classifier.predict(pixels(new File(image)), 1);
                    Classifier.Guess best = answer.guesses.get(0);
                    line = best.index + " " + best.probability + " " + answer.known + " " + best.label;
                } catch (IllegalStateException | IllegalArgumentException error) {
                    line = "error: " + error.getMessage();
                }
                out.write(("A" + line + "\n").getBytes(StandardCharsets.UTF_8));
                out.flush();
            }
        }
    }

    private static float[] read(DataInputStream in) throws IOException {
        byte[] head = new byte[4];
        in.readFully(head);
        byte[] data = new byte[4 * ByteBuffer.wrap(head).order(ByteOrder.LITTLE_ENDIAN).getInt()];
        in.readFully(data);
        return floats(data);
    }

    private static Pixels pixels(File file) throws IOException {
        BufferedImage image = ImageIO.read(file);
        return new Pixels() {
            @Override
            public int width() {
                return image.getWidth();
            }

            @Override
            public int height() {
                return image.getHeight();
            }

            @Override
            public void row(int y, int[] rgb) {
                image.getRGB(0, y, rgb.length, 1, rgb, 0, rgb.length);
            }
        };
    }

    private static String text(File file) throws IOException {
        return new String(Files.readAllBytes(file.toPath()), StandardCharsets.UTF_8);
    }

    private static float[] floats(byte[] data) {
        float[] out = new float[data.length / 4];
        ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(out);
        return out;
    }

    private static byte[] bytes(float[] values) {
        ByteBuffer out = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        out.asFloatBuffer().put(values);
        return out.array();
    }

    private static String sha(byte[] data) throws Exception {
        StringBuilder out = new StringBuilder();
        for (byte value : MessageDigest.getInstance("SHA-256").digest(data)) {
            out.append(String.format("%02x", value));
        }
        return out.toString();
    }
}
