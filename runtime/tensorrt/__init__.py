"""TensorRT 10 and 11 on the device: engines are built here, cached here, and never taken from
elsewhere.

Not run by this project: no GPU and no TensorRT library was at hand. Every call is typed by ``api``
    against the member
lists of the published Python bindings 10.3.0 (JetPack 6.1 and 6.2) and 11.4.0, the symbols of
``cuda`` were looked up in the CUDA 12.9 and 13.5 runtime libraries, and the logic around the calls
is tested with strict stand-ins for them (tests named ``..._logic_without_gpu``). Not verified,
therefore: that an engine builds from our files, its speed, its accuracy, CUDA graph capture, the
    exact words of the layer information, sharing a cache between processes on one GPU.

    api       the calls that are used, as protocols; which versions; what to do where the library is
              absent
    cuda      memory, streams, graphs and events, through ctypes on libcudart
    settings  shapes and builder options; the same as trtexec and polygraphy command lines
    build     ONNX bytes -> engine bytes
    cache     engines under their identity, trusted only if this user wrote them
    layers    what the engine inspector says: which layers run in int8
    engine    all of these together: the engine of a model, from the cache or built
    execute   buffers, contexts and CUDA graphs of one engine
"""
