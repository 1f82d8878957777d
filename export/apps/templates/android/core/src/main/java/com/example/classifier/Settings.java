package com.example.classifier;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What classifier.json says: how pixels become an input, and outputs an answer. */
public final class Settings {
    public final String title;
    public final String model; // its file
    public final String precision;
    public final int size; // edge of the square input, pixels
    public final int resize; // the shorter side becomes this before the crop
    public final boolean bicubic; // else bilinear
    public final double[] mean; // of R, G, B in [0, 1]
    public final double[] std;
    public final double temperature; // logits are divided by it before the softmax
    public final double tolerance; // of a golden logit, as a share of the golden logits' spread
    public final List<String> golden; // files of golden images
    /** How images of no class are told; null for a model that cannot. */
    public final Rejection.Rule rejection;

    /** Throws RuntimeException if a field is absent or of another type. */
    public Settings(String json) {
        Map<String, Object> all = map(Json.parse(json));
        title = (String) all.get("title");
        model = (String) all.get("model");
        precision = (String) all.get("precision");
        Map<String, Object> preprocess = map(all.get("preprocess"));
        size = ((Double) preprocess.get("size")).intValue();
        resize = ((Double) preprocess.get("resize")).intValue();
        bicubic = preprocess.get("interpolation").equals("bicubic");
        mean = doubles(preprocess.get("mean"));
        std = doubles(preprocess.get("std"));
        temperature = (Double) all.get("temperature");
        tolerance = (Double) all.get("tolerance");
        golden = new ArrayList<>();
        for (Object name : (List<?>) all.get("golden")) golden.add((String) name);
        rejection = all.get("rejection") == null ? null : rule(map(all.get("rejection")));
    }

    private static Rejection.Rule rule(Map<String, Object> row) {
        Map<String, double[]> scales = new LinkedHashMap<>();
        for (Map.Entry<String, Object> scale : map(row.get("scales")).entrySet()) {
            scales.put(scale.getKey(), doubles(scale.getValue()));
        }
        return new Rejection.Rule((String) row.get("score"), (Double) row.get("threshold"), scales,
                (String) row.get("prototypes"), (Boolean) row.get("features"));
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> map(Object value) {
        return (Map<String, Object>) value;
    }

    private static double[] doubles(Object value) {
        List<?> list = (List<?>) value;
        double[] out = new double[list.size()];
        for (int i = 0; i < out.length; i++) out[i] = (Double) list.get(i);
        return out;
    }
}
