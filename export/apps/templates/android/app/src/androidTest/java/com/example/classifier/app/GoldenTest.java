package com.example.classifier.app;

import static org.junit.Assert.assertTrue;

import android.content.res.AssetManager;
import android.graphics.ImageDecoder;

import androidx.test.ext.junit.runners.AndroidJUnit4;
import androidx.test.platform.app.InstrumentationRegistry;

import com.example.classifier.Classifier;
import com.example.classifier.Preprocess;

import org.junit.After;
import org.junit.Before;
import org.junit.Test;
import org.junit.runner.RunWith;

import java.io.IOException;

/** Does this device give the golden answers? Its decoder, the crop and the engine. */
@RunWith(AndroidJUnit4.class)
public class GoldenTest {
    private static final int JPEG_LEVELS = 3; // of 255, by which decoders of JPEG may differ

    private AssetManager golden;
    private Classifier classifier;

    @Before
    public void load() throws IOException {
        golden = InstrumentationRegistry.getInstrumentation().getContext().getAssets();
        classifier = Assets.classifier(
                InstrumentationRegistry.getInstrumentation().getTargetContext().getAssets());
    }

    @After
    public void close() {
        classifier.close();
    }

    @Test
    public void cropsAreThoseOfTraining() throws IOException {
        for (int i = 0; i < classifier.settings.golden.size(); i++) {
            String name = classifier.settings.golden.get(i);
            Photo photo = Photo.read(ImageDecoder.createSource(golden, "golden/" + name));
            byte[] got = Preprocess.geometry(photo, classifier.settings);
            byte[] want = Assets.bytes(golden, "golden/" + i + ".rgb");
            int worst = 0;
            for (int k = 0; k < want.length; k++) {
                worst = Math.max(worst, Math.abs((got[k] & 255) - (want[k] & 255)));
            }
            int allowed = name.endsWith(".jpg") ? JPEG_LEVELS : 0;
            assertTrue(name + " differs by " + worst, worst <= allowed);
        }
    }

    @Test
    public void logitsAreThoseOfTheBundle() throws IOException {
        for (int i = 0; i < classifier.settings.golden.size(); i++) {
            byte[] crop = Assets.bytes(golden, "golden/" + i + ".rgb");
            float[] got = classifier.run(Preprocess.normalize(crop, classifier.settings)).logits;
            float[] want = Assets.floats(Assets.bytes(golden, "golden/" + i + ".f32"));
            double low = want[0];
            double high = want[0];
            double worst = 0;
            for (int k = 0; k < want.length; k++) {
                low = Math.min(low, want[k]);
                high = Math.max(high, want[k]);
                worst = Math.max(worst, Math.abs((double) got[k] - want[k]));
            }
            worst /= Math.max(high - low, 1e-6);
            assertTrue("golden " + i + " differs by " + worst + " of the spread",
                    worst <= classifier.settings.tolerance);
        }
    }
}
