package com.example.classifier;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Reads JSON without a library, strictly: maps, lists, strings, doubles, booleans and null. */
final class Json {
    private final String text;
    private int at = 0;

    private Json(String text) {
        this.text = text;
    }

    /** Throws IllegalArgumentException with the place of what does not belong. */
    static Object parse(String text) {
        Json json = new Json(text);
        Object value = json.value();
        if (json.next() != 0) throw json.wrong();
        return value;
    }

    private Object value() {
        char first = next();
        if (first == '{') return map();
        if (first == '[') return list();
        if (first == '"') return string();
        for (Object[] word : new Object[][] { {"true", true}, {"false", false}, {"null", null}}) {
            if (text.startsWith((String) word[0], at)) {
                at += ((String) word[0]).length();
                return word[1];
            }
        }
        return number();
    }

    private Map<String, Object> map() {
        Map<String, Object> out = new LinkedHashMap<>();
        take('{');
        while (next() != '}') {
            if (!out.isEmpty()) take(',');
            if (next() != '"') throw wrong();
            String key = string();
            take(':');
            out.put(key, value());
        }
        take('}');
        return out;
    }

    private List<Object> list() {
        List<Object> out = new ArrayList<>();
        take('[');
        while (next() != ']') {
            if (!out.isEmpty()) take(',');
            out.add(value());
        }
        take(']');
        return out;
    }

    private String string() {
        StringBuilder out = new StringBuilder();
        take('"');
        while (at < text.length() && text.charAt(at) != '"') {
            char c = text.charAt(at++);
            out.append(c == '\\' ? escaped() : c);
        }
        if (at >= text.length()) throw wrong();
        at++;
        return out.toString();
    }

    private char escaped() {
        if (at >= text.length()) throw wrong();
        char c = text.charAt(at++);
        if (c == 'u' && at + 4 <= text.length()) {
            at += 4;
            return (char) Integer.parseInt(text.substring(at - 4, at), 16);
        }
        int place = "\"\\/bfnrt".indexOf(c);
        if (place < 0) throw wrong();
        return "\"\\/\b\f\n\r\t".charAt(place);
    }

    private Double number() {
        int start = at;
        while (at < text.length() && "+-.0123456789eE".indexOf(text.charAt(at)) >= 0) at++;
        if (at == start) throw wrong();
        return Double.valueOf(text.substring(start, at));
    }

    /** The next character that is no space, not taken; 0 at the end. */
    private char next() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) at++;
        return at < text.length() ? text.charAt(at) : 0;
    }

    private void take(char wanted) {
        if (next() != wanted) throw wrong();
        at++;
    }

    private IllegalArgumentException wrong() {
        return new IllegalArgumentException("no JSON at character " + at);
    }
}
