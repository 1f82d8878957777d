package com.example.classifier;

import java.util.ArrayList;
import java.util.List;

/** A model with its labels and preprocessing. One object may be used from several threads. */
public final class Classifier implements AutoCloseable {
    public final Settings settings;
    public final List<String> labels;
    private final Engine engine;
    private final Rejection rejection;
    private final boolean readsFeatures;

    /** {@code prototypes} may be empty where the score does not read features. */
    public Classifier(Settings settings, List<String> labels, float[] prototypes, Engine engine) {
        this.settings = settings;
        this.labels = labels;
        this.engine = engine;
        Rejection.Rule rule = settings.rejection;
        rejection = rule == null ? null : new Rejection(rule, prototypes);
        readsFeatures = rule != null && rule.features;
        if (readsFeatures && (prototypes.length == 0 || prototypes.length % labels.size() != 0)) {
            throw new IllegalArgumentException(prototypes.length + " values of prototypes for "
                    + labels.size() + " labels: copy all assets of one app");
        }
    }

    /**
     * The {@code top} likeliest classes of an image, and whether it shows one of them at all.
     *
     * <p>Throws IllegalArgumentException for a size that is refused, IllegalStateException for a
     * model that does not belong to its labels, or whose outputs are not finite.
     */
    public Answer predict(Pixels image, int top) {
        long start = System.nanoTime();
        float[] input = Preprocess.normalize(Preprocess.geometry(image, settings), settings);
        long prepared = System.nanoTime();
        Engine.Outputs outputs = run(input);
        double modelMs = (System.nanoTime() - prepared) / 1e6;
        boolean known = rejection == null || rejection.known(outputs);
        List<Guess> guesses = guesses(outputs.logits, labels, settings.temperature, top);
        return new Answer(guesses, known, (prepared - start) / 1e6, modelMs);
    }

    /** Logits and, where the score reads them, features of an input: 3 x size x size. */
    public synchronized Engine.Outputs run(float[] input) {
        Engine.Outputs outputs = engine.run(input, readsFeatures);
        if (outputs.logits.length != labels.size()) {
            throw new IllegalStateException(outputs.logits.length + " logits for " + labels.size()
                    + " labels: copy all assets of one app");
        }
        requireFinite("logits", outputs.logits);
        requireFinite("features", outputs.features);
        return outputs;
    }

    /** The likeliest classes: softmax of logits / temperature; ties in the order of the labels. */
    public static List<Guess> guesses(
            float[] logits, List<String> labels, double temperature, int top) {
        float divisor = (float) temperature;
        float largest = (float) Rejection.largest(logits) / divisor;
        double[] shares = new double[logits.length];
        double sum = 0;
        for (int i = 0; i < shares.length; i++) {
            shares[i] = Math.exp((double) (logits[i] / divisor) - largest);
            sum += shares[i];
        }
        List<Guess> out = new ArrayList<>();
        for (int i = 0; i < shares.length; i++) {
            out.add(new Guess(labels.get(i), i, shares[i] / sum));
        }
        out.sort((a, b) -> Double.compare(b.probability, a.probability));
        return out.subList(0, Math.min(out.size(), Math.max(top, 1)));
    }

    @Override
    public synchronized void close() {
        engine.close();
    }

    private static void requireFinite(String what, float[] values) {
        for (float value : values) {
            if (Float.isNaN(value) || Float.isInfinite(value)) {
                throw new IllegalStateException("no answer: " + what + " are not finite");
            }
        }
    }

    /** One guess, with its probability among all classes. */
    public static final class Guess {
        public final String label;
        public final int index;
        public final double probability;

        Guess(String label, int index, double probability) {
            this.label = label;
            this.index = index;
            this.probability = probability;
        }
    }

    /** The answer to an image. */
    public static final class Answer {
        public final List<Guess> guesses; // the likeliest first
        public final boolean known; // whether the image shows one of the classes at all
        public final double prepareMs;
        public final double modelMs;

        Answer(List<Guess> guesses, boolean known, double prepareMs, double modelMs) {
            this.guesses = guesses;
            this.known = known;
            this.prepareMs = prepareMs;
            this.modelMs = modelMs;
        }
    }
}
