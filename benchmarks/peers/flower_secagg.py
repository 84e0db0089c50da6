"""Flower's SecAgg+: its own workflow and its own client mod, with a grid that hands messages over in one process.

Prints the server's and the clients' CPU seconds as JSON. Run in an environment with flwr: `python SCRIPT CLIENTS SIZE
SHARES THRESHOLD DROPOUT`. Clients drop out after they have shared their keys, as elsewhere the round fails.
"""

# The dev environment has no flwr, so its types are not known there.
import copy
import json
import sys
import time
from types import SimpleNamespace
from typing import Any

import flwr
import numpy as np
from flwr.client.mod.secure_aggregation.secaggplus_mod import secaggplus_mod
from flwr.common import Context, FitIns, FitRes, Message, RecordDict, Status, ndarrays_to_parameters
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.common.typing import Code
from flwr.compat.common import recorddict_compat as compat
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import SecAggPlusWorkflow, WorkflowState
from flwr.supercore.task_identity import TaskIdentity


class Grid:
    """Carries messages to the clients' mod and times it."""

    def __init__(self, clients: int, size: int, gone: set[int]) -> None:
        self.gone, self.seconds, self.idle, self.upload = gone, 0.0, 0.0, 0
        self.contexts = {
            nid: Context(run_id=1, node_id=nid, node_config={}, state=RecordDict(), run_config={})
            for nid in range(1, clients + 1)
        }
        rng = np.random.default_rng(0)
        self.updates = {
            nid: ndarrays_to_parameters([rng.normal(size=size).astype(np.float32)]) for nid in self.contexts
        }

    def train(self, message: Any, context: Any) -> Any:
        """Return a client's update, without training."""
        found = FitRes(Status(Code.OK, ""), self.updates[context.node_id], 1, {})
        return Message(compat.fitres_to_recorddict(found, keep_input=True), reply_to=message)

    def send_and_receive(self, messages: list[Any], timeout: float | None = None) -> list[Any]:  # noqa: ARG002 - theirs
        """Answer as every client that is still there."""
        self.idle -= time.process_time()
        copies = [copy.deepcopy(message) for message in messages]  # a network would: clients take theirs apart
        self.idle += time.process_time()
        since, replies = time.process_time(), []
        for message in copies:
            nid = message.metadata.dst_node_id
            stage = message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
            if nid in self.gone and stage in (Stage.COLLECT_MASKED_VECTORS, Stage.UNMASK):
                continue
            replies.append(secaggplus_mod(message, self.contexts[nid], self.train))
            if stage == Stage.COLLECT_MASKED_VECTORS:
                vectors = replies[-1].content.config_records[RECORD_KEY_CONFIGS][Key.MASKED_PARAMETERS]
                self.upload = sum(map(len, vectors))
        self.seconds += time.process_time() - since
        return replies


def main() -> None:
    clients, size, shares, threshold = (int(word) for word in sys.argv[1:5])
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    gone = set(range(1, 1 + round(clients * float(sys.argv[5]))))
    grid = Grid(clients, size, gone)
    start = ndarrays_to_parameters([np.zeros(size, np.float32)])
    state = RecordDict()
    state[MAIN_CONFIGS_RECORD] = flwr.common.ConfigRecord({"current_round": 1})
    state[MAIN_PARAMS_RECORD] = compat.parameters_to_arrayrecord(start, keep_input=True)
    fits = [(SimpleNamespace(node_id=nid), FitIns(start, {})) for nid in grid.contexts]
    context = SimpleNamespace(
        state=state,
        strategy=SimpleNamespace(
            configure_fit=lambda *_: fits, aggregate_fit=lambda _round, results, _failed: (results[0][1].parameters, {})
        ),
        client_manager=SimpleNamespace(num_available=lambda: clients),
        history=SimpleNamespace(add_metrics_distributed_fit=lambda **_: None),
    )
    workflow, known = SecAggPlusWorkflow(shares, threshold), WorkflowState()
    since, seconds = time.process_time(), {}
    for stage in ("setup", "share_keys", "collect_masked_vectors", "unmask"):
        before = time.process_time() - since - grid.seconds - grid.idle
        if not getattr(workflow, f"{stage}_stage")(grid, context, known):
            sys.exit(f"Flower's {stage} stage failed")
        seconds[stage] = time.process_time() - since - grid.seconds - grid.idle - before
    print(
        json.dumps(
            {
                "server_cpu_s": sum(seconds.values()),
                "client_cpu_s": grid.seconds / clients,
                "upload_bytes": grid.upload,
                "stages": seconds,
                "version": flwr.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
