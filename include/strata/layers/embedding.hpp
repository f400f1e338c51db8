// The token embedding.
// Shapes: ids [B T] -> [B,T,D].
// Source: docs/model.md.
#pragma once

#include <strata/layers/pass.hpp>

namespace strata::inline STRATA_ABI {

struct embedding_parameters {
  tensor<2> table;  // [V,D]
};

template <class Table>
constexpr embedding_parameters declare_embedding(Table& table, index_type vocabulary, index_type dim) {
  using name = typename Table::name;
  return {table.add_rows(name("token_emb.weight"), {vocabulary, dim}, {initialisation::kind::normal, 1})};
}

template <class Backend, class S = typename Backend::scalar>
void embedding_forward(const pass<Backend>& p, const embedding_parameters& own, view<const token, 1> ids,
                       output<S, 2> y) {
  embed(p.backend, ids, p.weights[own.table], y, update::replace);
}

template <class Backend, class S = typename Backend::scalar>
void embedding_backward(const pass<Backend>& p, const embedding_parameters& own, view<const token, 1> ids,
                        input<S, 2> dy) {
  embed_backward(p.backend, ids, dy, p.gradients[own.table]);
}

}  // namespace strata
