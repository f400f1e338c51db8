"""Makes data/next_latent_rollouts.safetensors with the PyTorch package simple-hierarchical-transformer 0.4.0: README.md says what is in it."""
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from simple_hierarchical_transformer import HierarchicalTransformer

seed, batch, length = 7, 2, 24
kwargs = dict(num_tokens=24, dim=[12, 16, 12], depth=1, seq_len=64, dim_head=4, heads=2, ff_mult=2, hierarchies=[1, 2, 4],
              hierarchical_stride=[1, 1, 2], window_sizes=[8, 8, 0], num_rollouts=2)

torch.manual_seed(seed)
model = HierarchicalTransformer(**kwargs)
with torch.no_grad():  # also weights that start at zero or one
    for weight in model.parameters():
        weight += 0.1 * torch.randn_like(weight)
model.double()
ids = torch.randint(0, kwargs["num_tokens"], (batch, length + 1))
ids[0, 4] = ids[1, 11] = 0  # the token that counts in no loss

total, (cross_entropy, _, reconstruction, next_latent) = model(ids, return_loss=True)
total.backward()
losses = dict(total=total, cross_entropy=cross_entropy, reconstruction=reconstruction, next_latent=sum(next_latent))
inputs = ids[:, :-1]
tensors = {"logits": model(inputs), "logits.ablate_merge": model(inputs, ablate_hierarchical_merge=True)}
for level, embedding in enumerate(model(inputs, return_hierarchical_token_embeds=True)):
    tensors[f"token_embed.{level}"] = embedding
for level, embedding in enumerate(model(inputs, return_hierarchical_embeds=True)):
    tensors[f"embed.{level}"] = embedding
for name, weight in model.named_parameters():
    tensors |= {f"param.{name}": weight, f"grad.{name}": weight.grad}
tensors = {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}
tensors |= {f"loss.{name}": value.detach().double().reshape(1) for name, value in losses.items()}
case = dict(name="next_latent_rollouts", losses=list(losses)[1:], seed=seed, batch=batch, length=length, kwargs=kwargs)
save_file({"ids": ids, **tensors}, Path(__file__).parent / "data" / "next_latent_rollouts.safetensors",
          metadata={"case": json.dumps(case), "reference": "simple-hierarchical-transformer 0.4.0"})
