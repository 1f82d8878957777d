"""Files for further engines, a module each; ``table.FORMATS`` names them.

A target such as ``int8.openvino`` is a model of the bundle in another engine's own format. int8
files keep the scales of the quantization-aware training: no engine calibrates a second time.
"""
