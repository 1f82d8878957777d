"""TensorRT 10 and 11 on the device: engines are built and cached here, never taken from elsewhere.

Not run by this project, which had no GPU. Every call is in the member lists of the published Python
bindings 10.3.0 (JetPack 6.1 and 6.2) and 11.4.0; the symbols of ``cuda`` exist in the CUDA 12.9 and
13.5 runtime libraries; strict stand-ins test the logic around the calls (tests/runtime/tensorrt).
Unverified: that an engine builds from our files, its speed and accuracy, CUDA graph capture, the
exact words of the layer information, a cache shared by processes on a GPU.

    api       the import of tensorrt; supported versions; what to install
    cuda      memory, streams, graphs and events, through ctypes on libcudart
    settings  shapes and builder options; the same as trtexec and polygraphy command lines
    build     ONNX bytes -> engine bytes
    cache     engines under their identity, trusted only if this user wrote them
    layers    the engine inspector's report: which layers run in int8
    engine    all of these together: the engine of a model, from the cache or built
    execute   buffers, contexts and CUDA graphs of one engine
"""
