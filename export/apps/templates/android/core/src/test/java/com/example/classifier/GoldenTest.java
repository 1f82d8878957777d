package com.example.classifier;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import org.junit.Test;

import java.awt.image.BufferedImage;
import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.List;

import javax.imageio.ImageIO;

/** The golden images on any computer: crops byte for byte, and what logits mean. */
public class GoldenTest {
    private static final File ASSETS = new File("../app/src/main/assets");
    private static final File GOLDEN = new File("src/test/resources/golden");

    private final Settings settings = new Settings(text("classifier.json"));

    @Test
    public void cropsAreThoseOfTraining() throws IOException {
        for (int i = 0; i < settings.golden.size(); i++) {
            String name = settings.golden.get(i);
            BufferedImage image = ImageIO.read(new File(GOLDEN, name));
            boolean isPlain = image.getColorModel().getColorSpace().isCS_sRGB()
                    && image.getSampleModel().getSampleSize(0) == 8;
            if (!isPlain || !name.endsWith(".png")) continue; // the device's test reads those, too
            byte[] crop = Preprocess.geometry(pixels(image), settings);
            assertArrayEquals(name, bytes(new File(GOLDEN, i + ".rgb")), crop);
        }
    }

    @Test
    public void logitsBecomeProbabilities() {
        List<String> labels = Arrays.asList(text("labels.txt").split("\n"));
        for (int i = 0; i < settings.golden.size(); i++) {
            float[] logits = new float[labels.size()];
            ByteBuffer data = ByteBuffer.wrap(bytes(new File(GOLDEN, i + ".f32")));
            data.order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(logits);
            List<Classifier.Guess> guesses =
                    Classifier.guesses(logits, labels, settings.temperature, labels.size());
            double sum = 0;
            for (Classifier.Guess guess : guesses) sum += guess.probability;
            assertEquals(1.0, sum, 1e-9);
            for (float value : logits) assertTrue(value <= logits[guesses.get(0).index]);
        }
    }

    private static Pixels pixels(BufferedImage image) {
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
                for (int x = 0; x < rgb.length; x++) rgb[x] = Preprocess.onWhite(rgb[x]);
            }
        };
    }

    private static String text(String asset) {
        return new String(bytes(new File(ASSETS, asset)), StandardCharsets.UTF_8);
    }

    private static byte[] bytes(File file) {
        try {
            return Files.readAllBytes(file.toPath());
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }
}
