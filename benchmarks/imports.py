"""CPU of importing what every run's process imports, beside `import dagster` alone."""

import statistics

from benchmarks.measure import run_python

ROUNDS = 9


def main() -> None:
    commands = {"import dagster": [], "import pipeline_assets.definitions": []}
    for _ in range(ROUNDS):
        for command, costs in commands.items():
            costs.append(run_python(["-c", command]).cpu_seconds)
    medians = {command: statistics.median(costs) for command, costs in commands.items()}
    for command, median in medians.items():
        print(f"{command:38} {median:.3f} CPU s (median of {ROUNDS})")
    base, ours = medians.values()
    print(f"ratio {ours / base:.2f}")


if __name__ == "__main__":
    main()
