"""A plan of one round that is whole: a test changes what it is about."""

from accord.plan import Fixed, Plan, Task, Training

PLAN = Plan(
    tenant="t",
    job="j",
    round=1,
    attempt=1,
    purpose="train",
    base_version=0,
    bundle_digest=bytes(32),
    params_digest=bytes(32),
    previous=bytes(32),
    checkpoint=b"c",
    roles_version=1,
    revocations_digest=bytes(32),
    seal_key=bytes(32),
    profile="standard",
    cohort_floor=3,
    cohort_cap=12,
    training=Training(epochs=1, batch_size=32, learning_rate=50_000, momentum=0, proximal=0),
    fixed=Fixed(value_bits=16, modulus_bits=20, exponents=(0,), largest_weight=100),
    task=Task(kind="classification", outputs=10, target_exponent=0, transform="none"),
    length=100,
    expires=0,
)
