"""What a part of a graph does to the memory, step by step.

A step refers to a tensor by its bank and its key in it, so that the steps of one section can stand for those of another:
tensors of the section itself, of the section before it, and those that last longer. All sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

HERE, BEFORE, LASTING = 0, 1, 2
"""The banks."""

TAKE = 0
"""bank, key, memory, size: allocate."""
TAKE_OVER = 1
"""bank, key, bank and key of the tensor that is overwritten."""
TRIM = 2
"""bank, key, memory, size, offset: free the end of a tensor."""
FREE = 3
"""bank, key, memory, size."""

Step = tuple[int, int, int, int, int, int]
"""One of the four actions, and its numbers: plain ones, for their speed."""


class IrregularGraph(ValueError):
    """A section that should stand for others makes or ends what all of them share."""


@dataclass(slots=True)
class Section:
    """The steps of one section: in its own place, and where it stands for another one."""

    steps: list[Step] = field(default_factory=list)
    repeated: list[Step] = field(default_factory=list)

    def leave_out_shared(self, witness: Section) -> None:
        """Where the section stands for another one, it does nothing to what lasts: that is there for the first time.

        Raises ``IrregularGraph`` where a later copy of the section, the ``witness``, makes the same again.
        """
        self.repeated = [
            step for step in self.steps if step[1] != LASTING and not (step[0] == TAKE_OVER and step[3] == LASTING)
        ]
        if len(self.repeated) == len(self.steps):
            return
        made = self.lasting_sizes()
        takes_over = any(step[0] == TAKE_OVER and LASTING in (step[1], step[3]) for step in self.steps)
        if takes_over or (made and made == witness.lasting_sizes()):
            raise IrregularGraph("A layer that stands for others makes what all of them share.")

    def lasting_sizes(self) -> list[int]:
        """The sizes of what is made for more than the next section."""
        return [step[4] for step in self.steps if step[0] == TAKE and step[1] == LASTING]
