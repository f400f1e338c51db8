// upload, upload_tokens, download, fill, copy.
// Shapes: [N] in, [N] out.
// Source: backend/backend.hpp.
#pragma once

#include <algorithm>

#include <strata/backend/cpu/context.hpp>

namespace strata {

inline void copy(cpu& backend, input<float, 1> x, output<float, 1> y) {
  backend.parallel(y.size(), 1,
                   [&](index begin, index end) { std::copy(x.data + begin, x.data + end, y.data + begin); });
}
inline void upload(cpu& backend, input<float, 1> host, output<float, 1> device) { copy(backend, host, device); }
inline void download(cpu& backend, input<float, 1> device, output<float, 1> host) { copy(backend, device, host); }
inline void upload_tokens(cpu&, view<const token, 1> host, view<token, 1> device) {
  std::copy(host.data, host.data + host.size(), device.data);
}
inline void fill(cpu& backend, float value, output<float, 1> y) {
  backend.parallel(y.size(), 1, [&](index begin, index end) { std::fill(y.data + begin, y.data + end, value); });
}

}  // namespace strata
