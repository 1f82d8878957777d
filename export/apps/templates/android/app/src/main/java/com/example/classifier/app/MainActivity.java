package com.example.classifier.app;

import android.app.Activity;
import android.content.ActivityNotFoundException;
import android.content.ClipData;
import android.content.Intent;
import android.graphics.Bitmap;
import android.graphics.ImageDecoder;
import android.net.Uri;
import android.os.Bundle;
import android.provider.MediaStore;
import android.widget.ImageView;
import android.widget.TextView;

import androidx.core.content.FileProvider;

import com.example.classifier.Classifier;

import java.io.File;
import java.io.IOException;
import java.util.Locale;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** Chooses or takes a photo and says what it shows. No image leaves the device. */
public final class MainActivity extends Activity {
    private static final int CHOOSE = 1;
    private static final int TAKE = 2;
    private static final int TOP = 3; // classes that are shown
    private static final int EDGE = 1024; // of the picture on the screen, pixels

    private final ExecutorService worker = Executors.newSingleThreadExecutor();
    private Classifier classifier; // of the worker alone

    @Override
    protected void onCreate(Bundle state) {
        super.onCreate(state);
        setContentView(R.layout.main);
        findViewById(R.id.choose).setOnClickListener(view -> choose());
        findViewById(R.id.take).setOnClickListener(view -> take());
        work(() -> {
            classifier = Assets.classifier(getAssets());
            String title = classifier.settings.title;
            runOnUiThread(() -> setTitle(title));
        });
    }

    @Override
    protected void onDestroy() {
        worker.execute(() -> {
            if (classifier != null) classifier.close();
        });
        worker.shutdown();
        super.onDestroy();
    }

    private void choose() {
        Intent intent = new Intent(Intent.ACTION_GET_CONTENT);
        ask(intent.setType("image/*").addCategory(Intent.CATEGORY_OPENABLE), CHOOSE);
    }

    private void take() {
        Intent intent = new Intent(MediaStore.ACTION_IMAGE_CAPTURE);
        intent.putExtra(MediaStore.EXTRA_OUTPUT, taken());
        intent.setClipData(ClipData.newRawUri("", taken())); // the camera's app may write there
        ask(intent.addFlags(Intent.FLAG_GRANT_WRITE_URI_PERMISSION), TAKE);
    }

    /** Where the camera's app puts its photo, which no other app sees: res/xml/photos.xml. */
    private Uri taken() {
        File folder = new File(getCacheDir(), "photos");
        folder.mkdirs();
        File photo = new File(folder, "taken.jpg");
        return FileProvider.getUriForFile(this, getPackageName() + ".photos", photo);
    }

    private void ask(Intent intent, int request) {
        try {
            startActivityForResult(intent, request);
        } catch (ActivityNotFoundException error) {
            show(getString(R.string.no_app), "");
        }
    }

    @Override
    protected void onActivityResult(int request, int result, Intent data) {
        super.onActivityResult(request, result, data);
        if (result != RESULT_OK) return;
        Uri image = request == TAKE ? taken() : data == null ? null : data.getData();
        if (image != null) work(() -> classify(image));
    }

    private void classify(Uri image) throws IOException {
        if (classifier == null) return; // its error is on the screen
        ImageDecoder.Source source = ImageDecoder.createSource(getContentResolver(), image);
        Classifier.Answer answer = classifier.predict(Photo.read(source), TOP);
        Bitmap preview = Photo.preview(source, EDGE);
        String headline = answer.known ? answer.guesses.get(0).label : getString(R.string.not_sure);
        runOnUiThread(() -> {
            ((ImageView) findViewById(R.id.photo)).setImageBitmap(preview);
            show(headline, details(answer));
        });
    }

    private static String details(Classifier.Answer answer) {
        StringBuilder out = new StringBuilder();
        for (Classifier.Guess guess : answer.guesses) {
            out.append(text("%.1f %%  %s\n", 100 * guess.probability, guess.label));
        }
        return out + text("prepare %.1f ms · model %.1f ms", answer.prepareMs, answer.modelMs);
    }

    private static String text(String format, Object... values) {
        return String.format(Locale.ROOT, format, values);
    }

    private void show(String headline, String details) {
        ((TextView) findViewById(R.id.headline)).setText(headline);
        ((TextView) findViewById(R.id.details)).setText(details);
    }

    /** Runs a step away from the screen; what goes wrong is shown. */
    private void work(Step step) {
        worker.execute(() -> {
            try {
                step.run();
            } catch (IOException | RuntimeException error) {
                String why = String.valueOf(error.getMessage());
                runOnUiThread(() -> show(getString(R.string.failed), why));
            }
        });
    }

    private interface Step {
        void run() throws IOException;
    }
}
