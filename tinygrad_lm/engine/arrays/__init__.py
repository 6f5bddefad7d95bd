"""Facts about arrays, behind one door: libraries, devices, dtypes, what is process-wide, and which
memory was written when. Gradients begin one floor up, in `core/`."""

from .process import (  # isort: skip  (before NumPy is loaded)
    get_num_threads,
    keep_big_blocks,
    quiet_context,
    quietly,
    set_num_threads,
)
from .broadcasting import fit, sum_rows
from .devices import (
    CPU,
    device,
    device_of,
    get_default_device,
    is_on,
    library_on,
    set_default_device,
    to_device,
)
from .dispatch import is_ours, joint, keep_wanted, kernel, kernels_on, reference_only, with_kernels
from .dtypes import (
    DTYPES,
    as_dtype,
    bfloat16,
    bool_,
    dtype,
    dtype_named,
    dtype_of,
    float16,
    float32,
    float64,
    get_default_dtype,
    int8,
    int16,
    int32,
    int64,
    narrow,
    promote,
    promote_types,
    result_type,
    set_default_dtype,
    uint8,
)
from .ids import are_ids, check_bounds, exist, hold, look_at, noted
from .inputs import explained, out_of_memory, plain, upstream_gradient
from .layout import copied, in_eights, is_writable, joined, overlaps, row_major, unstretched
from .libraries import (
    DEVICE_TYPES,
    LIBRARIES,
    ON_CUDA,
    WHEN_READ,
    Array,
    Gradient,
    OutOfMemoryError,
    address,
    as_array,
    as_strided,
    ask_devices,
    broadcast_to,
    cuda_is_available,
    cupy,
    in_float32,
    is_numpy,
    library,
    on_host,
    owner_of,
    register_library,
    rounded,
    to_numpy,
    widened,
)
from .nests import changed, filled, leaves
from .precision import allow_tf32, set_allow_tf32, set_tuned_products, tuned_products
from .replay import actions_noted, before_each_replay, is_recording_step, recording_step
from .sums import running_sums, sum_runs, summed
from .versions import check_unwritten, clock, kept_arrays, mark_written, writes
