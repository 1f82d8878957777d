"""Hardware budgets: read a budget, estimate or measure what fits it, search for the best that does,
judge the result.

    grammar      "p50<=5ms@orin-nano, drop<=2pt" -> limits        devices      profiles of hardware,
                 as data
    costs        operations and bytes of an ONNX graph            roofline     costs x profile -> an
                 estimate
    calibration  estimates corrected by measurements              zoo          the students that a
                 search looks at
    candidates   what each would cost, before any training        search       successive halving,
                 then the build
    judge        limits against a finished run's report           record       what the report and
                 the run folder keep

An estimate is never mixed with a measurement: every value says which of the two it is.
"""
