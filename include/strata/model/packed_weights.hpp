// The weights of a model in a compact format, packed once, for generation. Matrices of matrix products are packed; the
// embedding table and the vectors are copied.
// Shapes: one flat buffer of scalars with its own layout.
#pragma once

#include <vector>

#include <strata/core/weight_format.hpp>
#include <strata/model/parameters.hpp>

namespace strata::inline STRATA_ABI {

/// Assigns offsets to packed weights as `parameter_plan` does, and remembers the source of each.
template <class S>
class packed_table {
 public:
  using name = parameter_plan::name;
  struct entry {
    index_type from, to;
    std::array<index_type, 2> shape;
    bool packed;
  };

  packed_table(parameter_regions regions, weight_format format) : format_(format), plain_(regions) {}

  tensor<2> add_rows(const name& own, std::array<index_type, 2> shape, initialisation initial) {
    return {add_packed(plain_.add_rows(own, shape, initial).offset, shape, weight_format::float32), shape};
  }
  tensor<2> add_table(const name& own, std::array<index_type, 2> shape, initialisation initial) {
    return {add_packed(plain_.add_table(own, shape, initial).offset, shape, weight_format::float32), shape};
  }
  tensor<2> add_output(const name& own, std::array<index_type, 2> shape, initialisation initial) {
    return {add_packed(plain_.add_output(own, shape, initial).offset, shape, format_), shape};
  }
  tensor<2> add_stacked(const name& own, int, std::array<index_type, 2> shape, initialisation initial) {
    return add<2>(own, shape, initial);
  }
  template <int Rank>
  tensor<Rank> add(const name& own, std::array<index_type, Rank> shape, initialisation initial) {
    const index_type from = plain_.add<Rank>(own, shape, initial).offset;
    if constexpr (Rank == 1)
      return {add_packed(from, {1, shape[0]}, weight_format::float32), shape};
    else
      return {add_packed(from, shape, format_), shape};
  }
  tensor<2> add(const name& own, std::array<index_type, 2> shape, std::array<index_type, 3>, initialisation initial) {
    return add<2>(own, shape, initial);
  }
  const std::vector<entry>& entries() const { return entries_; }
  index_type size() const { return memory_.size(); }

 private:
  index_type add_packed(index_type from, std::array<index_type, 2> shape, weight_format format) {
    const index_type to = memory_.add<1>({packed_matrix<S>::size(format, shape)}).offset;
    entries_.push_back({from, to, shape, format != weight_format::float32});
    return to;
  }
  weight_format format_;
  parameter_plan plain_;
  memory_plan memory_;
  std::vector<entry> entries_;
};

/// The weights that a pass reads: with `float32` the model's own, else a packed copy.
template <const auto& D, class Backend>
class packed_weights {
 public:
  using scalar = typename Backend::scalar;

  /// `layout` and `regions` are those of `weights`.
  packed_weights(Backend& backend, view<const scalar, 1> weights, const parameter_layout<D>& layout,
                 parameter_regions regions, weight_format format)
      : format_(format), layout_(layout), plain_(weights.data) {
    if (format == weight_format::float32) return;
    packed_table<scalar> table(regions, format);
    layout_ = declare_network<D>(table);
    memory_ = storage(table.size());
    plain_ = nullptr;
    for (const auto& entry : table.entries()) {
      const view<const scalar, 2> from{weights.data + entry.from, entry.shape};
      const packed_matrix<scalar> to{memory_.data() + entry.to, entry.shape};
      if (!entry.packed)
        copy(backend, from.flat(), view<scalar, 1>{to.first, {from.size()}});
      else if (format == weight_format::bfloat16)
        pack_bfloat16(backend, from.flat(), to.halves().flat());
      else
        pack_int8(backend, from, to.bytes(), to.scale());
    }
  }

  weight_format format() const { return format_; }
  const parameter_layout<D>& layout() const { return layout_; }
  tensor_memory<const scalar> memory() const { return {plain_ ? plain_ : memory_.data()}; }

 private:
  using storage = typename Backend::template storage<scalar>;
  weight_format format_;
  parameter_layout<D> layout_;
  const scalar* plain_;
  storage memory_;
};

}  // namespace strata
