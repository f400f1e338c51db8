// upload, upload_tokens, download, download_tokens, fill, copy, add.
// Shapes: [N] in, [N] out.
// Source: backend/backend.hpp.
#pragma once

#include <strata/backend/reference/context.hpp>

namespace strata::inline STRATA_ABI {

template <class S>
void copy(reference<S>&, input<S, 1> x, output<S, 1> y) {
  for (index_type n = 0; n < y.size(); ++n) y(n) = x(n);
}
template <class S>
void upload(reference<S>& backend, input<S, 1> host, output<S, 1> device) {
  copy(backend, host, device);
}
template <class S>
void upload_tokens(reference<S>&, view<const token, 1> host, view<token, 1> device) {
  for (index_type n = 0; n < device.size(); ++n) device(n) = host(n);
}
template <class S>
void download(reference<S>& backend, input<S, 1> device, output<S, 1> host) {
  copy(backend, device, host);
}
template <class S>
void download_tokens(reference<S>& backend, view<const token, 1> device, view<token, 1> host) {
  upload_tokens(backend, device, host);
}
template <class S>
void fill(reference<S>&, std::type_identity_t<S> value, output<S, 1> y) {
  for (index_type n = 0; n < y.size(); ++n) y(n) = value;
}
template <class S>
void add(reference<S>&, input<S, 1> x, output<S, 1> y) {
  for (index_type n = 0; n < y.size(); ++n) y(n) += x(n);
}
template <class S>
void mix(reference<S>&, std::type_identity_t<S> keep, input<S, 1> x, output<S, 1> y) {
  for (index_type n = 0; n < y.size(); ++n) y(n) = keep * y(n) + (1 - keep) * x(n);
}

}  // namespace strata
