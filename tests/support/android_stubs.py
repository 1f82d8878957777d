"""Declarations of the Android classes that the app calls: there is no Android SDK here.

Written from the reference of Android and from the sources of LiteRT and onnxruntime. What compiles
against them is Java and agrees with itself; only an SDK can say that it agrees with Android.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

RES = "{http://schemas.android.com/apk/res/android}"
# class -> its declaration
STUBS = {
    "android.app.Activity": """class Activity extends android.content.Context {
        public static final int RESULT_OK = -1;
        protected void onCreate(android.os.Bundle state) {}
        protected void onDestroy() {}
        protected void onActivityResult(int request, int result, android.content.Intent data) {}
        public void setContentView(int layout) {}
        public <T extends android.view.View> T findViewById(int id) { return null; }
        public void startActivityForResult(android.content.Intent intent, int request) {}
        public final void runOnUiThread(Runnable action) {}
        public void setTitle(CharSequence title) {}
    }""",
    "android.content.Context": """abstract class Context {
        public android.content.res.AssetManager getAssets() { return null; }
        public ContentResolver getContentResolver() { return null; }
        public java.io.File getCacheDir() { return null; }
        public String getPackageName() { return null; }
        public final String getString(int id) { return null; }
    }""",
    "android.content.ClipData": """class ClipData {
        public static ClipData newRawUri(CharSequence label, android.net.Uri uri) { return null; }
    }""",
    "android.content.ContentResolver": "abstract class ContentResolver {}",
    "android.content.ActivityNotFoundException": """
        class ActivityNotFoundException extends RuntimeException {}""",
    "android.content.Intent": """class Intent {
        public static final String ACTION_GET_CONTENT = "", CATEGORY_OPENABLE = "";
        public static final int FLAG_GRANT_WRITE_URI_PERMISSION = 2;
        public Intent(String action) {}
        public Intent setType(String type) { return this; }
        public Intent addCategory(String category) { return this; }
        public Intent addFlags(int flags) { return this; }
        public void setClipData(ClipData clip) {}
        public Intent putExtra(String name, android.os.Parcelable value) { return this; }
        public android.net.Uri getData() { return null; }
    }""",
    "android.content.res.AssetManager": """final class AssetManager {
        public java.io.InputStream open(String name) throws java.io.IOException { return null; }
    }""",
    "android.graphics.Bitmap": """final class Bitmap {
        public int getWidth() { return 0; }
        public int getHeight() { return 0; }
        public boolean hasAlpha() { return false; }
        public void getPixels(int[] to, int at, int stride, int x, int y, int w, int h) {}
    }""",
    "android.graphics.ColorSpace": """abstract class ColorSpace {
        public enum Named { SRGB }
        public static ColorSpace get(Named name) { return null; }
    }""",
    "android.graphics.ImageDecoder": """final class ImageDecoder implements AutoCloseable {
        public static final int ALLOCATOR_SOFTWARE = 1;
        public abstract static class Source {}
        public static class ImageInfo {
            public android.util.Size getSize() { return null; }
        }
        public interface OnHeaderDecodedListener {
            void onHeaderDecoded(ImageDecoder decoder, ImageInfo info, Source source);
        }
        public static Source createSource(android.content.ContentResolver r, android.net.Uri uri) {
            return null;
        }
        public static Source createSource(android.content.res.AssetManager assets, String name) {
            return null;
        }
        public static Bitmap decodeBitmap(Source source, OnHeaderDecodedListener listener)
                throws java.io.IOException { return null; }
        public void setAllocator(int allocator) {}
        public void setTargetColorSpace(ColorSpace space) {}
        public void setTargetSampleSize(int size) {}
        public void setUnpremultipliedRequired(boolean required) {}
        public void close() {}
    }""",
    "android.net.Uri": "abstract class Uri implements android.os.Parcelable {}",
    "android.os.Bundle": "final class Bundle {}",
    "android.os.Parcelable": "interface Parcelable {}",
    "android.provider.MediaStore": """final class MediaStore {
        public static final String ACTION_IMAGE_CAPTURE = "", EXTRA_OUTPUT = "";
    }""",
    "android.util.Size": """final class Size {
        public int getWidth() { return 0; }
        public int getHeight() { return 0; }
    }""",
    "android.view.View": """class View {
        public interface OnClickListener { void onClick(View view); }
        public void setOnClickListener(OnClickListener listener) {}
    }""",
    "android.widget.ImageView": """class ImageView extends android.view.View {
        public void setImageBitmap(android.graphics.Bitmap bitmap) {}
    }""",
    "android.widget.TextView": """class TextView extends android.view.View {
        public final void setText(CharSequence text) {}
    }""",
    "androidx.core.content.FileProvider": """class FileProvider {
        public static android.net.Uri getUriForFile(
            android.content.Context context, String authority, java.io.File file) { return null; }
    }""",
    "androidx.test.ext.junit.runners.AndroidJUnit4": "final class AndroidJUnit4 {}",
    "androidx.test.platform.app.InstrumentationRegistry": """class InstrumentationRegistry {
        public static class Instrumentation {
            public android.content.Context getContext() { return null; }
            public android.content.Context getTargetContext() { return null; }
        }
        public static Instrumentation getInstrumentation() { return null; }
    }""",
    "org.junit.After": "@interface After {}",
    "org.junit.Before": "@interface Before {}",
    "org.junit.Test": "@interface Test {}",
    "org.junit.runner.RunWith": "@interface RunWith { Class<?> value(); }",
    "org.junit.Assert": """class Assert {
        public static void assertTrue(String message, boolean condition) {}
    }""",
    "org.tensorflow.lite.DataType": "enum DataType { FLOAT32, INT8 }",
    "org.tensorflow.lite.Tensor": """interface Tensor {
        class QuantizationParams {
            public float getScale() { return 0; }
            public int getZeroPoint() { return 0; }
        }
        DataType dataType();
        int numBytes();
        int numElements();
        QuantizationParams quantizationParams();
    }""",
    "org.tensorflow.lite.Interpreter": """final class Interpreter implements AutoCloseable {
        public static class Options {
            public Options setNumThreads(int threads) { return this; }
        }
        public Interpreter(java.nio.ByteBuffer model, Options options) {}
        public Tensor getInputTensor(int index) { return null; }
        public Tensor getOutputTensor(int index) { return null; }
        public void runForMultipleInputsOutputs(
            Object[] inputs, java.util.Map<Integer, Object> outputs) {}
        public void close() {}
    }""",
    "ai.onnxruntime.OrtException": "class OrtException extends Exception {}",
    "ai.onnxruntime.OnnxValue": "interface OnnxValue extends AutoCloseable { void close(); }",
    "ai.onnxruntime.OnnxTensorLike": """
        abstract class OnnxTensorLike implements OnnxValue { public void close() {} }""",
    "ai.onnxruntime.OnnxTensor": """class OnnxTensor extends OnnxTensorLike {
        public static OnnxTensor createTensor(
            OrtEnvironment environment, java.nio.FloatBuffer data, long[] shape)
            throws OrtException { return null; }
        public java.nio.FloatBuffer getFloatBuffer() { return null; }
    }""",
    "ai.onnxruntime.OrtEnvironment": """final class OrtEnvironment implements AutoCloseable {
        public static OrtEnvironment getEnvironment() { return null; }
        public OrtSession createSession(byte[] model, OrtSession.SessionOptions options)
            throws OrtException { return null; }
        public void close() {}
    }""",
    "ai.onnxruntime.OrtSession": """class OrtSession implements AutoCloseable {
        public java.util.Set<String> getInputNames() { return null; }
        public Result run(java.util.Map<String, ? extends OnnxTensorLike> inputs,
            java.util.Set<String> outputs) throws OrtException { return null; }
        public void close() throws OrtException {}
        public static class SessionOptions implements AutoCloseable {
            public void setIntraOpNumThreads(int threads) throws OrtException {}
            public void close() {}
        }
        public static class Result implements AutoCloseable {
            public OnnxValue get(int index) { return null; }
            public void close() {}
        }
    }""",
}


def write_stubs(folder: Path, app: Path) -> list[Path]:
    """A source for each class, and ``R`` from the resources of ``app``."""
    sources = {name: f"public {text.strip()}" for name, text in STUBS.items()}
    sources["com.example.classifier.app.R"] = _resources(app / "app/src/main/res")
    files = []
    for name, text in sources.items():
        package, _, simple = name.rpartition(".")
        files.append(folder / package.replace(".", "/") / f"{simple}.java")
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        files[-1].write_text(f"package {package};\n\n{text}\n", encoding="utf-8")
    return files


def _resources(folder: Path) -> str:
    """What aapt makes: a number for each layout, view and string."""
    layouts = sorted(folder.glob("layout/*.xml"))
    views = [view for file in layouts for view in ElementTree.parse(file).iter()]
    ids = [view.get(f"{RES}id", "") for view in views]
    strings = ElementTree.parse(folder / "values/strings.xml").iter("string")
    kinds = {
        "layout": [file.stem for file in layouts],
        "id": [match[1] for match in map(re.compile(r"@\+id/(\w+)").fullmatch, ids) if match],
        "string": [str(string.get("name")) for string in strings],
    }
    parts = []
    for kind, names in kinds.items():
        fields = "".join(f" public static final int {name} = {i};" for i, name in enumerate(names))
        parts.append(f"public static final class {kind} {{{fields} }}")
    return f"public final class R {{ {' '.join(parts)} }}"
