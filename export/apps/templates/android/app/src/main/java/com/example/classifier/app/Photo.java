package com.example.classifier.app;

import android.graphics.Bitmap;
import android.graphics.ColorSpace;
import android.graphics.ImageDecoder;
import android.util.Size;

import com.example.classifier.Pixels;
import com.example.classifier.Preprocess;

import java.io.IOException;

/** An image as training reads it: upright, in sRGB, transparency on white. */
public final class Photo implements Pixels {
    private final Bitmap bitmap;

    private Photo(Bitmap bitmap) {
        this.bitmap = bitmap;
    }

    /** Throws IOException for no image, IllegalArgumentException for a size that is refused. */
    public static Photo read(ImageDecoder.Source source) throws IOException {
        return new Photo(ImageDecoder.decodeBitmap(source, (decoder, info, from) -> {
            Preprocess.checkSize(info.getSize().getWidth(), info.getSize().getHeight());
            decoder.setAllocator(ImageDecoder.ALLOCATOR_SOFTWARE); // its pixels can be read
            decoder.setTargetColorSpace(ColorSpace.get(ColorSpace.Named.SRGB));
            decoder.setUnpremultipliedRequired(true);
        }));
    }

    /** A smaller copy to be shown: no screen draws a bitmap of 64 megapixels. */
    public static Bitmap preview(ImageDecoder.Source source, int edge) throws IOException {
        return ImageDecoder.decodeBitmap(source, (decoder, info, from) -> {
            Size size = info.getSize();
            int factor = Math.max(size.getWidth(), size.getHeight()) / edge;
            decoder.setTargetSampleSize(Math.max(1, factor));
        });
    }

    @Override
    public int width() {
        return bitmap.getWidth();
    }

    @Override
    public int height() {
        return bitmap.getHeight();
    }

    @Override
    public void row(int y, int[] rgb) {
        bitmap.getPixels(rgb, 0, bitmap.getWidth(), 0, y, bitmap.getWidth(), 1);
        if (bitmap.hasAlpha()) {
            for (int x = 0; x < rgb.length; x++) rgb[x] = Preprocess.onWhite(rgb[x]);
        }
    }
}
