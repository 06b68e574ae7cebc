"""One group's part of a step's batch: flat numpy buffers, so that Ray passes them without a copy.

Letters: q question, n candidate over all questions of the batch, t token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

NO_ANSWER = 0
"""Answer number of a response from which no answer was read."""


@dataclass(frozen=True, slots=True)
class AnswerForms:
    """The closed set of answers of each question as responses behind one group's prompt.

    Letters: m form over all questions, q question. A question's forms are its frames times its answers, frame by frame,
    the short answers first and the truth, where it is known, the first answer.
    """

    form_t: npt.NDArray[np.int32]
    form_offset_m: Ints
    """[forms + 1]."""
    form_offset_q: Ints
    """[questions + 1]: the forms of question q are offset[q] to offset[q + 1]."""
    frames_q: Ints
    """Frames of each question, the empty one of short answers among them; 0 where there is no closed set."""
    answers_q: Ints
    """Answers of each question."""

    def forms(self, q: int) -> list[npt.NDArray[np.int32]]:
        """Token ids of the forms of question q."""
        numbers = range(int(self.form_offset_q[q]), int(self.form_offset_q[q + 1]))
        return [self.form_t[self.form_offset_m[m] : self.form_offset_m[m + 1]] for m in numbers]


@dataclass(frozen=True, slots=True)
class GroupBatch:
    """The candidates of one group for the requested questions, in the order of the request."""

    group: str
    prompt_t: npt.NDArray[np.int32]
    prompt_offset_q: Ints
    """[questions + 1]."""
    response_t: npt.NDArray[np.int32]
    response_offset_n: Ints
    """[candidates + 1]."""
    candidate_offset_q: Ints
    """[questions + 1]: the candidates of question q are offset[q] to offset[q + 1]."""
    utility_n: Floats
    truth_n: Floats
    """1 right, 0 wrong or without a truth."""
    answer_n: Ints
    """A 63-bit hash of the answer, equal in all groups; NO_ANSWER where there is none."""
    own_n: Flags
    """Whether the group itself gave the response, in its first turn."""
    reference_logp_n: Floats
    """Log-prob under the reference policy; NaN where it has not been computed yet."""
    objective_q: Flags
    """Whether the question has a known truth."""
    answers: AnswerForms | None = None
    """None where no closed sets are asked for."""

    def prompt(self, q: int) -> npt.NDArray[np.int32]:
        """Token ids of the prompt of question q."""
        return self.prompt_t[self.prompt_offset_q[q] : self.prompt_offset_q[q + 1]]

    def response(self, n: int) -> npt.NDArray[np.int32]:
        """Token ids of candidate n."""
        return self.response_t[self.response_offset_n[n] : self.response_offset_n[n + 1]]

    def candidates(self, q: int) -> range:
        """Indices of the candidates of question q."""
        return range(int(self.candidate_offset_q[q]), int(self.candidate_offset_q[q + 1]))
