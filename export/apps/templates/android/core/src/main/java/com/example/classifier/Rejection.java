package com.example.classifier;

import java.util.Map;

/** Does an image show one of the classes at all? A higher score speaks for it. */
public final class Rejection {
    private final Rule rule;
    private final float[] prototypes; // a row of the features' width for each class

    /** {@code prototypes} may be empty where the score does not read features. */
    public Rejection(Rule rule, float[] prototypes) {
        this.rule = rule;
        this.prototypes = prototypes;
    }

    public boolean known(Engine.Outputs outputs) {
        return score(outputs) >= rule.threshold;
    }

    public double score(Engine.Outputs outputs) {
        if (!rule.score.equals("combined")) return part(rule.score, outputs);
        double sum = 0;
        for (Map.Entry<String, double[]> scale : rule.scales.entrySet()) {
            sum += (part(scale.getKey(), outputs) - scale.getValue()[0]) / scale.getValue()[1];
        }
        return sum / rule.scales.size();
    }

    private double part(String name, Engine.Outputs outputs) {
        switch (name) {
            case "max_logit": return largest(outputs.logits);
            case "energy": return energy(outputs.logits);
            case "prototype": return prototype(outputs.features);
            default: throw new IllegalArgumentException("score " + name);
        }
    }

    private double prototype(float[] features) {
        double best = -2; // below any cosine
        for (int row = 0; row < prototypes.length; row += features.length) {
            double cosine = 0;
            for (int i = 0; i < features.length; i++) {
                cosine += (double) features[i] * prototypes[row + i];
            }
            best = Math.max(best, cosine);
        }
        return best;
    }

    private static double energy(float[] logits) {
        double top = largest(logits);
        double sum = 0;
        for (float value : logits) sum += Math.exp(value - top);
        return top + Math.log(sum);
    }

    static double largest(float[] values) {
        double out = values[0];
        for (float value : values) out = Math.max(out, value);
        return out;
    }

    /** A score and its threshold, as classifier.json has them. */
    public static final class Rule {
        public final String score;
        public final double threshold; // an image below it is not known
        public final Map<String, double[]> scales; // part of "combined" -> mean and spread
        public final String prototypes; // their file; null where the score has no use for them
        public final boolean features; // whether the score reads features

        public Rule(String score, double threshold, Map<String, double[]> scales, String prototypes,
                boolean features) {
            this.score = score;
            this.threshold = threshold;
            this.scales = scales;
            this.prototypes = prototypes;
            this.features = features;
        }
    }
}
