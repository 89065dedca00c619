"""A connection that gets another name while its job runs: its topics stay, and nobody hears anything twice."""

from scripts.engines import PRISM
from tests.engines.world import World, now, people
from tests.pipeline.running import score

CHANGES = 40


def rename(world: World, old: str, new: str) -> None:
    text = world.workspace.read_text()
    before = f"  - name: {old}\n"
    assert before in text
    world.workspace.write_text(text.replace(before, f"  - name: {new}\n    was: {old}\n"))
    process = world.publish()
    assert process.wait(180) == 0, process.text()
    assert f"{new} was {old}: what it was told under that name counts" in process.text()


def change(world: World, base: int) -> None:
    world.write([score(f"u{number}", now(), base + number) for number in range(CHANGES)])


def test_a_connection_is_renamed_while_it_is_told_something(world: World) -> None:
    world.write(people(range(60)))
    world.job(PRISM)
    first = world.sender()
    world.settle()
    heard = world.quiet()

    world.status = 503
    change(world, 1_000)
    rename(world, "hook", "crm")  # what was asked under the old name waits
    world.status = 200
    world.settle()
    change(world, 2_000)
    world.settle()
    assert world.quiet() == heard + 4 * CHANGES
    assert "takes over crm" in first.text()
    assert "gives up hook" in first.text()

    first.stop()
    world.sender()  # which never knew the old name
    change(world, 3_000)
    world.settle()
    assert world.quiet() == heard + 6 * CHANGES
    assert world.twice() == 0
