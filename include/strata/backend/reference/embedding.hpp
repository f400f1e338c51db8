// embed, embed_backward.
// Shapes: ids [R], table [V,D] -> [R,D].
// Source: backend/backend.hpp.
#pragma once

#include <strata/backend/reference/context.hpp>

namespace strata::inline STRATA_ABI {

template <class S>
void embed(reference<S>&, view<const token, 1> ids, input<S, 2> table, output<S, 2> y, update mode) {
  for (index_type r = 0; r < y.shape[0]; ++r)
    for (index_type d = 0; d < y.shape[1]; ++d) {
      const S own = ids(r) < 0 ? S{0} : table(ids(r), d);
      y(r, d) = mode == update::add ? y(r, d) + own : own;
    }
}

template <class S>
void embed_backward(reference<S>&, view<const token, 1> ids, input<S, 2> dy, output<S, 2> dtable) {
  for (index_type r = 0; r < dy.shape[0]; ++r)
    for (index_type d = 0; d < dy.shape[1]; ++d)
      if (ids(r) >= 0) dtable(ids(r), d) += dy(r, d);
}

}  // namespace strata
