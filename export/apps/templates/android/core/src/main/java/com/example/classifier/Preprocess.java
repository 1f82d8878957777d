package com.example.classifier;

/** An image becomes the input as in training, byte for byte: Pillow's resize in integers. */
public final class Preprocess {
    /** Of a fixed-point weight; Pillow keeps 32 - 8 (pixel) - 2 (overshoot and sign). */
    private static final int BITS = 22;

    private static final long MAX_PIXELS = 64_000_000;
    private static final long MAX_RATIO = 1000;

    private Preprocess() {}

    /** Throws IllegalArgumentException for sides that training refuses as well. */
    public static void checkSize(int width, int height) {
        if (width < 1 || height < 1 || (long) width * height > MAX_PIXELS
                || Math.max(width, height) > MAX_RATIO * Math.min(width, height)) {
            throw new IllegalArgumentException("image of " + width + " x " + height
                    + " pixels, expected sides within 1:1000 and at most 64,000,000 pixels");
        }
    }

    /**
     * The central square, size x size x 3 bytes: the shorter side becomes {@code resize}, the crop
     * starts at half of what is left over, rounded half to even.
     */
    public static byte[] geometry(Pixels image, Settings settings) {
        checkSize(image.width(), image.height());
        int size = settings.size;
        long shorter = Math.min(image.width(), image.height());
        Windows across = new Windows(image.width(), shorter, settings);
        Windows down = new Windows(image.height(), shorter, settings);

        // First pass: only the columns of the crop, and only the rows that the second pass reads.
        int first = down.starts[0];
        int rows = down.starts[size - 1] + down.lengths[size - 1] - first;
        int stride = 3 * size;
        byte[] middle = new byte[rows * stride];
        int[] line = new int[image.width()];
        for (int y = 0; y < rows; y++) {
            image.row(first + y, line);
            for (int x = 0; x < size; x++) {
                int red = 1 << (BITS - 1);
                int green = red;
                int blue = red;
                for (int k = 0; k < across.lengths[x]; k++) {
                    int weight = across.weights[x * across.most + k];
                    int pixel = line[across.starts[x] + k];
                    red += (pixel >> 16 & 255) * weight;
                    green += (pixel >> 8 & 255) * weight;
                    blue += (pixel & 255) * weight;
                }
                int at = y * stride + 3 * x;
                middle[at] = clip8(red);
                middle[at + 1] = clip8(green);
                middle[at + 2] = clip8(blue);
            }
        }
        byte[] out = new byte[size * stride];
        for (int y = 0; y < size; y++) {
            int top = (down.starts[y] - first) * stride;
            for (int x = 0; x < stride; x++) {
                int sum = 1 << (BITS - 1);
                for (int k = 0; k < down.lengths[y]; k++) {
                    sum += (middle[top + k * stride + x] & 255) * down.weights[y * down.most + k];
                }
                out[y * stride + x] = clip8(sum);
            }
        }
        return out;
    }

    /** Standardized values of cropped pixels, channels first: 3 x size x size. */
    public static float[] normalize(byte[] pixels, Settings settings) {
        int plane = settings.size * settings.size;
        float[] out = new float[3 * plane];
        for (int c = 0; c < 3; c++) {
            float[] table = new float[256];
            for (int value = 0; value < 256; value++) {
                table[value] = (float) ((value / 255.0 - settings.mean[c]) / settings.std[c]);
            }
            for (int i = 0; i < plane; i++) out[c * plane + i] = table[pixels[3 * i + c] & 255];
        }
        return out;
    }

    /** An ARGB value, not premultiplied, on white, rounded as Pillow does: 7 more bits, / 255. */
    public static int onWhite(int argb) {
        int alpha = argb >>> 24;
        if (alpha == 255) return argb & 0xFFFFFF;
        int out = 0;
        for (int shift = 16; shift >= 0; shift -= 8) {
            int sum = ((argb >> shift & 255) * alpha + 255 * (255 - alpha)) * 128 + 128 * 128;
            out |= ((sum >> 8) + sum >> 15) << shift;
        }
        return out;
    }

    private static int cropStart(int leftOver) {
        return leftOver + (leftOver >> 1 & 1) >> 1;
    }

    private static byte clip8(int sum) {
        return (byte) Math.max(0, Math.min(255, sum >> BITS));
    }

    /** Source pixels and weights of each target pixel of the crop, along one side. */
    private static final class Windows {
        final int[] starts;
        final int[] lengths;
        final int[] weights; // size x most
        final int most;

        Windows(int source, long shorter, Settings settings) {
            int target = (int) ((long) source * settings.resize / shorter);
            int from = cropStart(target - settings.size);
            double scale = (double) source / target;
            double stretch = Math.max(scale, 1.0); // to fewer pixels a wider filter: antialiasing
            double reach = (settings.bicubic ? 2.0 : 1.0) * stretch;
            most = (int) Math.ceil(reach) * 2 + 1;
            starts = new int[settings.size];
            lengths = new int[settings.size];
            weights = new int[settings.size * most];
            double[] exact = new double[most];
            for (int i = 0; i < settings.size; i++) {
                double center = (from + i + 0.5) * scale;
                starts[i] = Math.max(0, (int) (center - reach + 0.5));
                lengths[i] = Math.min(source, (int) (center + reach + 0.5)) - starts[i];
                double sum = 0.0;
                for (int k = 0; k < lengths[i]; k++) {
                    double at = Math.abs((k + starts[i] - center + 0.5) * (1.0 / stretch));
                    exact[k] = settings.bicubic ? bicubic(at) : Math.max(0.0, 1.0 - at);
                    sum += exact[k];
                }
                for (int k = 0; k < lengths[i]; k++) {
                    double fixed = (sum == 0.0 ? exact[k] : exact[k] / sum) * (1 << BITS);
                    weights[i * most + k] = (int) (fixed < 0 ? fixed - 0.5 : fixed + 0.5);
                }
            }
        }

        private static double bicubic(double x) {
            double a = -0.5;
            if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
            if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
            return 0.0;
        }
    }
}
