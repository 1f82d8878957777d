package com.example.classifier;

/** An upright image without transparency, a row at a time: no copy of a large photo. */
public interface Pixels {
    int width();

    int height();

    /** Writes row {@code y} into {@code rgb}: {@link #width} values 0xRRGGBB, more bits ignored. */
    void row(int y, int[] rgb);
}
