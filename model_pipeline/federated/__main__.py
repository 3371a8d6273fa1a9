"""``python -m model_pipeline.federated --config tiny --data DIR --out DIR``"""

from __future__ import annotations

import sys

from model_pipeline import child


def main() -> int:
    """The command line of the child process."""
    arguments = child.parser("Train over clients with Flower.", "data", "out").parse_args()
    from model_pipeline.federated.simulation import federate

    return child.main(
        arguments, lambda progress: federate(child.config_of(arguments), arguments.data, arguments.out, progress)
    )


if __name__ == "__main__":
    sys.exit(main())
