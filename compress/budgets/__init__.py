"""Hardware budgets: limits, what a model would take on a device, and whether a run keeps them.

    grammar      "p50<=5ms@orin-nano, drop<=2pt" -> limits
    variants     precisions and engines: which file of a bundle computes which precision where
    devices      profiles of hardware, as data
    operations   the price of each ONNX operation       kernels   nodes fused as engines fuse them
    costs        operations and bytes of an ONNX graph  roofline  costs x profile -> an estimate
    calibration  factors that measurements of a device give its estimates
    estimates    the estimates of a bundle              table     estimates for a terminal
    judge        limits against a finished run's report

An estimate is never mixed with a measurement: every value says which of the two it is.
"""
