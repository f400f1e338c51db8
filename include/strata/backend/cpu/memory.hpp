// upload, upload_tokens, download, download_tokens, fill, copy, keep_last, keep_row.
// Shapes: [N] in, [N] out; keep_last and keep_row: backend/backend.hpp.
// Source: backend/backend.hpp.
#pragma once

#include <algorithm>

#include <strata/backend/cpu/context.hpp>

namespace strata::inline STRATA_ABI {

inline void copy(cpu& backend, input<float, 1> x, output<float, 1> y) {
  require(x.size() == y.size(), "a copy of [", x.size(), "] to [", y.size(), "]");
  backend.parallel(y.size(), 1,
                   [&](index_type begin, index_type end) { std::copy(x.data + begin, x.data + end, y.data + begin); });
}
inline void upload(cpu& backend, input<float, 1> host, output<float, 1> device) { copy(backend, host, device); }
inline void download(cpu& backend, input<float, 1> device, output<float, 1> host) { copy(backend, device, host); }
inline void upload_tokens(cpu& backend, view<const token, 1> host, view<token, 1> device) {
  const exclusive_use in_use(backend);
  require(host.size() == device.size(), "a copy of [", host.size(), "] tokens to [", device.size(), "]");
  std::copy(host.data, host.data + host.size(), device.data);
}
inline void download_tokens(cpu& backend, view<const token, 1> device, view<token, 1> host) {
  upload_tokens(backend, device, host);
}
inline void fill(cpu& backend, float value, output<float, 1> y) {
  backend.parallel(y.size(), 1,
                   [&](index_type begin, index_type end) { std::fill(y.data + begin, y.data + end, value); });
}
inline void keep_last(cpu& backend, input<float, 3> x, int sequence, int dilation, index_type column,
                      output<float, 3> ring) {
  const exclusive_use in_use(backend);
  const auto [batch, span, width] = ring.shape;
  const index_type count = (x.shape[1] - sequence + dilation - 1) / dilation;
  for (index_type b = 0; b < batch; ++b)
    for (index_type j = std::max<index_type>(0, count - span); j < count; ++j)
      std::copy_n(x.data + (b * x.shape[1] + sequence + j * dilation) * x.shape[2] + column, width,
                  ring.data + (b * span + j % span) * width);
}
inline void keep_row(cpu& backend, input<float, 2> x, index_type position, output<float, 3> ring) {
  const exclusive_use in_use(backend);
  const auto [batch, span, width] = ring.shape;
  for (index_type b = 0; b < batch; ++b)
    std::copy_n(x.data + b * width, width, ring.data + (b * span + position % span) * width);
}

}  // namespace strata
