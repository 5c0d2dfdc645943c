"""What to do next after an operation that failed, by the stable code of its failure."""

from __future__ import annotations

from models_app.operations.models import Operation

_FREE_MEMORY = "Unload something on this host first, or load it with a shorter context or fewer GPU layers."
_NO_GPU = "The server found no room on a GPU, or sees none. Free VRAM, or check the server's driver, and load it again."
_LOOK_AT_SERVER = "Look at the server's own log, then try again."
_CHECK_ADDRESS = "Check on the Hosts page that the server runs and answers, then try again."
_CHANGED_MEANWHILE = "Another client acted at the same time. Look at the fleet as it is now before you try again."

_BY_CODE = {
    "does_not_fit": _FREE_MEMORY,
    "out_of_memory": _FREE_MEMORY,
    "on_cpu": _NO_GPU,
    "memory_did_not_move": (
        "The server says that the model is loaded, but no VRAM was taken: it may run on the CPU, or on a GPU that Berth "
        "does not see. Check the host, then unload and load it again."
    ),
    "memory_held": (
        "The model is gone, its memory is not: a process of the server still holds it. Restarting the server frees it; the "
        "Fleet page shows which process it is."
    ),
    "still_loaded": "Another client may keep it in use. Wait for its requests to end, then unload it again.",
    "stuck_stopping": "The server is waiting for requests to end. Restarting it ends them.",
    "not_listed": _LOOK_AT_SERVER,
    "load_failed": _LOOK_AT_SERVER,
    "load_timed_out": "A slow disk or network share can be the reason. Try again: files read once are often cached.",
    "measure_timed_out": (
        "The model answers somebody else at the same time, or runs on the CPU: see on the Fleet page where it lies."
    ),
    "too_few_tokens": "Some models end a text soon. Try again; where it stays so, its speed cannot be measured.",
    "pull_timed_out": "What was downloaded is kept by the server: trying again goes on from there.",
    "not_deleted": _LOOK_AT_SERVER,
    "model_not_found": "The server does not know the model any more. Pull it, or look again at the host.",
    "not_installed": "The server does not know the model any more. Pull it, or look again at the host.",
    "not_loaded": _CHANGED_MEANWHILE,
    "reloaded_by_another_client": _CHANGED_MEANWHILE,
    "loaded_with_other_options": _CHANGED_MEANWHILE,
    "model_in_use": _CHANGED_MEANWHILE,
    "endpoint_unreachable": _CHECK_ADDRESS,
    "endpoint_refused_connection": _CHECK_ADDRESS,
    "endpoint_timed_out": _CHECK_ADDRESS,
    "endpoint_bad_answer": _CHECK_ADDRESS,
    "endpoint_unauthorized": "Enter the server's key again: Hosts, the endpoint, Edit.",
    "address_refused": "The panel's settings do not allow this address. Correct it: Hosts, the endpoint, Edit.",
    "endpoint_busy": "The server is busy. Try again in a moment.",
    "endpoint_fault": _LOOK_AT_SERVER,
    "unsupported_option": "Load it again without this option.",
    "invalid_option": "Load it again with another value.",
    "worker_lost": "The panel was stopped while it worked. Look at the fleet as it is now, then try again.",
}


def next_step(error_code: str, kind: str = "") -> str:
    """What a person can do about the failure of an operation of a kind; empty where its own sentence says it all."""
    if kind == Operation.Kind.PULL and error_code == "model_not_found":
        return ""
    return _BY_CODE.get(error_code, "")
