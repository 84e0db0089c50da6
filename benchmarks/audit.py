"""What the audit log costs: appends, proofs, the start of an aggregator, and a whole verification: one JSON object.

    python benchmarks/audit.py --json [--entries 100000] [--batch 100]

The log lies in a temporary folder of the current one, so that the disk is a real one and not /tmp in memory.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from accord import merkle, prg
from accord.entropy import SeededEntropy
from accord.wire.envelope import Envelope
from accord.wire.messages import Checkpoint, Roles, opened
from aggregator.audit.entries import attempt, of_participation
from aggregator.audit.folder import AuditFiles, AuditFolder
from aggregator.audit.log import AuditLog
from aggregator.audit.verification import verify
from aggregator.enrolment import new_fleet

PROOFS = 200


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=100, help="entries per append and checkpoint: a cohort's worth")
    arguments = parser.parse_args()
    fleet = new_fleet("t", SeededEntropy(1), 2**40)
    made = [of_participation(n, attempt("job", n, 1), prg.digest(b"%d" % n)) for n in range(arguments.entries)]
    with tempfile.TemporaryDirectory(dir=".") as folder:
        state = Path(folder)
        storage = AuditFolder(state)
        log = AuditLog(storage, key=fleet.aggregator, tenant="t")
        began = time.perf_counter()
        for start in range(0, len(made), arguments.batch):
            log.append(*made[start : start + arguments.batch])
            log.checkpoint()
        appending = time.perf_counter() - began
        began = time.perf_counter()
        for entry in made[:PROOFS]:
            log.append(entry)
        single = (time.perf_counter() - began) / PROOFS
        size = log.size
        newest = opened(Envelope.decode(log.checkpoint()), Checkpoint)
        making, checking = [], []
        for index in range(0, len(made), max(1, len(made) // PROOFS)):
            began = time.perf_counter()
            proof = log.inclusion(index, size)
            consistency = log.consistency(index + 1, size)
            middle = time.perf_counter()
            merkle.check_inclusion(merkle.leaf_hash(made[index].encode()), index, size, newest.root, proof)
            making.append(middle - began)
            checking.append(time.perf_counter() - middle)
        storage.close()
        began = time.perf_counter()
        storage = AuditFolder(state)
        AuditLog(storage, key=fleet.aggregator, tenant="t")
        starting = time.perf_counter() - began
        storage.close()
        files = AuditFiles(state)
        began = time.perf_counter()
        roles = opened(Envelope.decode(fleet.roles()), Roles)
        report = verify(files.entries(), files.checkpoints(), [roles])
        verifying = time.perf_counter() - began
        if report.finding is not None or report.entries != size:
            raise SystemExit(f"the log does not hold: {report.finding}")
        found = {
            "entries": size,
            "checkpoints": report.checkpoints,
            "appends_per_s": round(len(made) / appending),
            "append_one_ms": round(1_000 * single, 3),
            "proof_ms": round(1_000 * statistics.median(making), 4),
            "check_ms": round(1_000 * statistics.median(checking), 4),
            "proof_hashes": len(proof) + len(consistency),
            "start_s": round(starting, 3),
            "verify_s": round(verifying, 3),
            "bytes_per_entry": round(files.size / size, 1),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
