package com.example.classifier;

/** What runs the model's file: one image a call, from one thread at a time. */
public interface Engine extends AutoCloseable {
    /**
     * @param input 3 x size x size, standardized
     * @param features whether the features are wanted beside the logits
     */
    Outputs run(float[] input, boolean features);

    @Override
    void close();

    /** What the model gives for an image; features are empty where they were not asked for. */
    final class Outputs {
        public final float[] logits;
        public final float[] features;

        public Outputs(float[] logits, float[] features) {
            this.logits = logits;
            this.features = features;
        }
    }
}
