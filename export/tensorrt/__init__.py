"""TensorRT and torch-tensorrt: what their parsers ask for, and how their engines are asked for."""
