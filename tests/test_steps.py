import pytest
import torch
from torch.nn import functional

from hyperfitting.training.steps import next_token_loss


def reference_loss(logits, ids):
    return functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), reduction="sum")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradient_are_those_of_cross_entropy(dtype):
    generator = torch.Generator().manual_seed(0)
    source = (torch.randn(3, 17, 500, generator=generator) * 10).to(dtype)
    ids = torch.randint(0, 500, (3, 17), generator=generator)
    results = []
    for loss_of in (reference_loss, next_token_loss):
        logits = source.clone().requires_grad_()
        loss = loss_of(logits * 1, ids)
        (loss * 0.25).backward()
        results.append((loss.detach(), logits.grad))
    (expected, expected_gradient), (loss, gradient) = results
    assert loss.dtype == torch.float32 and gradient.dtype == dtype
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-7)
    assert not gradient[:, -1].any()


def test_logits_are_the_only_tensor_of_their_size():
    logits = torch.randn(2, 64, 1000).requires_grad_() * 1
    before = logits.data_ptr()
    (gradient,) = torch.autograd.grad(next_token_loss(logits, torch.zeros(2, 64, dtype=torch.int64)), logits)
    assert gradient.data_ptr() == before


def test_a_model_that_still_needs_its_logits_fails_loudly():
    logits = torch.randn(2, 8, 50).requires_grad_().sigmoid()  # sigmoid's gradient is a function of its result
    loss = next_token_loss(logits, torch.zeros(2, 8, dtype=torch.int64))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
