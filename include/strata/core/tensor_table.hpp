// Layout of tensors in one flat buffer. `memory_plan` assigns offsets. `parameter_plan` does so for parameters at
// compile time, without names; `parameter_table` does so at run time, with names. `tensor_memory` makes views.
// Shapes: offsets are multiples of 16 elements, so every tensor starts on a cache line.
// Source: after the single parameter buffer of llm.c.
#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <strata/core/error.hpp>
#include <strata/core/view.hpp>

namespace strata::inline STRATA_ABI {

/// Offset and shape of one tensor in a flat buffer. A tensor that was never planned has `offset < 0`.
template <int Rank>
struct tensor {
  index_type offset = -1;
  std::array<index_type, Rank> shape{};
  constexpr explicit operator bool() const { return offset >= 0; }
};

/// Assigns consecutive offsets and counts the elements.
class memory_plan {
 public:
  constexpr memory_plan() = default;
  constexpr explicit memory_plan(index_type first) : size_(first) {}

  template <int Rank>
  constexpr tensor<Rank> add(std::array<index_type, Rank> shape) {
    const tensor<Rank> own{size_, shape};
    index_type count = 1, most = std::numeric_limits<index_type>::max() - 15;
    for (index_type extent : shape) {
      if (extent < 0 || (extent > 0 && count > most / extent)) fail("a tensor of ", count, " x ", extent, " elements");
      count *= extent;
    }
    if (count > most - size_) fail("a plan of ", size_, " + ", count, " elements");
    size_ += (count + 15) / 16 * 16;
    return own;
  }
  constexpr index_type size() const { return size_; }

 private:
  index_type size_ = 0;
};

/// Initialisation of a parameter: `constant` is `scale`, `uniform` between -scale and +scale, `normal` has the standard
/// deviation `scale`, `directions` are rows of length 1, `identity` is a unit matrix times `scale`.
struct initialisation {
  enum class kind { constant, uniform, normal, directions, identity } distribution = kind::constant;
  double scale = 0;
};

/// Offsets of the parts of a parameter buffer. Matrices come first, at 0.
struct parameter_regions {
  index_type first_other_matrix = 0, first_vector = 0, first_constant = 0, first_table = 0;
};

/// Offsets of all parameters: hidden matrices, other matrices, vectors (gains, biases), constants, tables. So Muon
/// updates one range, and weight decay acts on one. Other matrices are looked up, give logits or scores, or belong to
/// losses. Training never changes constants: their gradient is zero. A step changes only the rows of a table that it
/// looked up, so tables have no gradient in this layout.
class parameter_plan {
 public:
  /// Takes the role of a name and stores nothing: names are not built at compile time.
  struct name {
    constexpr name(const char*) {}
    constexpr name operator+(const char*) const { return *this; }
    constexpr name operator+(int) const { return *this; }
    constexpr name operator+(std::size_t) const { return *this; }
  };

  constexpr explicit parameter_plan(parameter_regions regions = {})
      : others_(regions.first_other_matrix),
        vectors_(regions.first_vector),
        constants_(regions.first_constant),
        tables_(regions.first_table) {}

  /// From now on, matrices belong to losses.
  constexpr void begin_losses() { of_losses_ = true; }

 private:
  // Before its first use: clang 14 would not find it in a constant expression.
  template <int Rank>
  constexpr tensor<Rank> learned(memory_plan& region, std::array<index_type, Rank> shape) {
    index_type count = 1;
    for (index_type extent : shape) count *= extent;
    parameters_ += count;
    return region.template add<Rank>(shape);
  }

 public:
  template <int Rank>
  constexpr tensor<Rank> add(const name&, std::array<index_type, Rank> shape, initialisation) {
    return learned<Rank>(Rank == 1 ? vectors_ : of_losses_ ? others_ : hidden_, shape);
  }
  /// A matrix whose rows are looked up, never multiplied.
  constexpr tensor<2> add_rows(const name&, std::array<index_type, 2> shape, initialisation) {
    return learned<2>(others_, shape);
  }
  /// A matrix whose products are logits or scores.
  constexpr tensor<2> add_output(const name&, std::array<index_type, 2> shape, initialisation) {
    return learned<2>(others_, shape);
  }
  /// `parts` matrices of equal shape, one below the other.
  constexpr tensor<2> add_stacked(const name& own, int /*parts*/, std::array<index_type, 2> shape,
                                  initialisation initial) {
    return add<2>(own, shape, initial);
  }
  /// A table of n-grams.
  constexpr tensor<2> add_table(const name&, std::array<index_type, 2> shape, initialisation) {
    table_parameters_ += shape[0] * shape[1];
    return tables_.add<2>(shape);
  }
  /// A matrix that has rank 3 in files: the weights of a convolution.
  constexpr tensor<2> add(const name& own, std::array<index_type, 2> shape, std::array<index_type, 3>,
                          initialisation initial) {
    return add<2>(own, shape, initial);
  }
  /// A tensor that is initialised and saved, but never learned.
  template <int Rank>
  constexpr tensor<Rank> add_constant(const name&, std::array<index_type, Rank> shape, initialisation) {
    return constants_.template add<Rank>(shape);
  }

  /// The offsets that the regions need. Call it on a plan whose regions all start at 0.
  constexpr parameter_regions regions() const {
    const index_type vectors = hidden_.size() + others_.size(), constants = vectors + vectors_.size();
    return {hidden_.size(), vectors, constants, constants + constants_.size()};
  }
  constexpr index_type buffer_size() const { return tables_.size(); }  ///< elements, gaps for alignment included
  /// Elements that training learns, those of tables included.
  constexpr index_type parameters() const { return parameters_ + table_parameters_; }
  constexpr index_type table_parameters() const { return table_parameters_; }

 private:
  memory_plan hidden_, others_, vectors_, constants_, tables_;
  bool of_losses_ = false;
  index_type parameters_ = 0, table_parameters_ = 0;
};

/// What a parameter is for. Optimizers may treat each kind in its own way.
enum class parameter_kind { hidden_matrix, other_matrix, vector, constant, table };

/// One named parameter: its offset, its shape in files, its initialisation and its kind.
struct parameter_entry {
  std::string name;
  std::vector<index_type> shape;
  index_type offset = 0, size = 0;
  initialisation initial;
  parameter_kind kind = parameter_kind::vector;
  int parts = 1;  ///< matrices of equal shape that lie one below the other in it
};

/// The list of all parameters under the names of the reference package.
class parameter_table {
 public:
  /// A string that accepts `+ number`, like `parameter_plan::name`.
  class name : public std::string {
   public:
    using std::string::string;
    name(std::string text) : std::string(std::move(text)) {}
    name operator+(const char* text) const { return static_cast<const std::string&>(*this) + std::string(text); }
    name operator+(int number) const { return static_cast<const std::string&>(*this) + std::to_string(number); }
    name operator+(std::size_t number) const { return static_cast<const std::string&>(*this) + std::to_string(number); }
  };

  explicit parameter_table(parameter_regions regions) : plan_(regions) {}

  void begin_losses() {
    plan_.begin_losses();
    of_matrices_ = parameter_kind::other_matrix;
  }

  template <int Rank>
  tensor<Rank> add(const name& own, std::array<index_type, Rank> shape, initialisation initial) {
    return enter(plan_.add<Rank>("", shape, initial), {.name = own,
                                                       .shape = {shape.begin(), shape.end()},
                                                       .initial = initial,
                                                       .kind = Rank == 1 ? parameter_kind::vector : of_matrices_});
  }
  tensor<2> add_rows(const name& own, std::array<index_type, 2> shape, initialisation initial) {
    return enter(
        plan_.add_rows("", shape, initial),
        {.name = own, .shape = {shape.begin(), shape.end()}, .initial = initial, .kind = parameter_kind::other_matrix});
  }
  tensor<2> add_output(const name& own, std::array<index_type, 2> shape, initialisation initial) {
    return add_rows(own, shape, initial);
  }
  tensor<2> add_stacked(const name& own, int parts, std::array<index_type, 2> shape, initialisation initial) {
    const tensor<2> added = add<2>(own, shape, initial);
    entries_.back().parts = parts;
    return added;
  }
  tensor<2> add_table(const name& own, std::array<index_type, 2> shape, initialisation initial) {
    return enter(
        plan_.add_table("", shape, initial),
        {.name = own, .shape = {shape.begin(), shape.end()}, .initial = initial, .kind = parameter_kind::table});
  }
  tensor<2> add(const name& own, std::array<index_type, 2> shape, std::array<index_type, 3> in_files,
                initialisation initial) {
    const tensor<2> added = add<2>(own, shape, initial);
    entries_.back().shape.assign(in_files.begin(), in_files.end());
    return added;
  }
  template <int Rank>
  tensor<Rank> add_constant(const name& own, std::array<index_type, Rank> shape, initialisation initial) {
    return enter(
        plan_.add_constant<Rank>("", shape, initial),
        {.name = own, .shape = {shape.begin(), shape.end()}, .initial = initial, .kind = parameter_kind::constant});
  }
  const std::vector<parameter_entry>& entries() const { return entries_; }

 private:
  template <int Rank>
  tensor<Rank> enter(tensor<Rank> added, parameter_entry entry) {
    for (const parameter_entry& other : entries_)
      require(other.name != entry.name, "two parameters are called '", entry.name,
              "': losses and merges give their parameters names of their own");
    entry.offset = added.offset;
    entry.size = 1;
    for (index_type extent : added.shape) entry.size *= extent;
    entries_.push_back(std::move(entry));
    return added;
  }
  parameter_plan plan_;
  parameter_kind of_matrices_ = parameter_kind::hidden_matrix;
  std::vector<parameter_entry> entries_;
};

/// A flat buffer; a `tensor` selects a view of it.
template <class T>
struct tensor_memory {
  T* base = nullptr;
  template <int Rank>
  constexpr view<T, Rank> operator[](const tensor<Rank>& own) const {
    STRATA_ASSERT(own.offset >= 0);
    return {base + own.offset, own.shape};
  }
  /// As above, but an empty view for a tensor that the model lacks, such as a bias.
  template <int Rank>
  constexpr view<T, Rank> optional(const tensor<Rank>& own) const {
    return own ? (*this)[own] : view<T, Rank>{};
  }
};

}  // namespace strata
