"""The second output of every file: ``features``, what the class head reads, of length 1.

It tells how an image looks to the network, beyond its classes: for rejection, for new classes, for
finding similar images. A student with a projection has its unit rows there, another one its pooled
features divided by their norm. Engines that need the logits alone ask for these, or take the export
target ``.logits``, whose file has one output.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.graph import CodeGen

from compress.distill.students import Student
from compress.engine.errors import ExportError
from compress.quantize.graph import PreparedStudent, head_of, reparameterized

LEAST_NORM = 1e-12  # as torch.nn.functional.normalize has it

aten = torch.ops.aten


class FeatureStudent(Student):
    """``images (B, 3, S, S) -> logits (B, K), features (B, D)``; shares the student's modules."""

    def __init__(self, student: Student) -> None:
        with torch.device("meta"):  # what is replaced below draws no random numbers
            super().__init__(student.spec, student.trunk, student.width)
        self.proj = student.proj
        self.head = student.head
        self.logit_scale = student.logit_scale
        self.training = student.training

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        pooled = self.trunk(images)
        projected = self.project(pooled)
        if projected is None:
            return self.classify(pooled), F.normalize(pooled, dim=-1)
        return self.classify(projected), projected


def featured(student: nn.Module) -> nn.Module:
    """A float copy for inference with both outputs; of another network than ours, logits alone."""
    both = FeatureStudent(student) if isinstance(student, Student) else student
    return reparameterized(both)


def with_features(graph: GraphModule) -> GraphModule:
    """A copy of a captured student, prepared or converted, that returns logits and features.

    In an int8 graph the features are those that the head's int8 kernel reads, so they cost a
    division, and no layer leaves int8.

    Raises: ExportError: the logits come from no linear layer.
    """
    twin = copy.deepcopy(graph)
    output = next(node for node in twin.graph.nodes if node.op == "output")
    logits = output.all_input_nodes[0]
    head = head_of(twin)
    if head is None:
        what = "the student's features cannot be found"
        remedy = "choose another student: --student (compress list students)"
        raise ExportError(what, expected="a linear layer before the logits", remedy=remedy)
    source = head.args[0]
    with twin.graph.inserting_before(output):
        norm = twin.graph.call_function(aten.linalg_vector_norm.default, (source, 2.0, [-1], True))
        norm = twin.graph.call_function(aten.clamp_min.default, (norm, LEAST_NORM))
        features = twin.graph.call_function(aten.div.Tensor, (source, norm))
    output.args = ((logits, features),)
    twin.graph.set_codegen(CodeGen())  # the captured one unpacks a single tensor
    twin.recompile()
    return twin


def prepared_outputs(prepared: PreparedStudent) -> GraphModule:
    """Both outputs of a prepared student: the reference of an int8 file."""
    return with_features(prepared.graph)
