package com.example.classifier;

/** The int8 steps of a tensor: value = (step - point) * scale. */
public final class Steps {
    private final float scale;
    private final int point;

    public Steps(float scale, int point) {
        this.scale = scale;
        this.point = point;
    }

    /** The nearest step, ties to even. */
    public byte of(float value) {
        double step = Math.rint(value / scale) + point;
        return (byte) Math.max(-128, Math.min(127, step));
    }

    public float value(byte step) {
        return ((float) step - point) * scale;
    }
}
