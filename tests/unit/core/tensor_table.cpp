// Offsets in flat buffers: aligned, apart from each other, and named as they were declared.
#include <vector>

#include <strata/core/tensor_table.hpp>

#include "support/catch.hpp"
#include "support/messages.hpp"

using strata::initialisation;
using strata::memory_plan;
using strata::parameter_plan;
using strata::parameter_table;
using strata::tensor;

namespace {

constexpr initialisation initial{initialisation::kind::uniform, 0.5};

struct places {
  tensor<2> first, second;
  tensor<1> gain;
  tensor<2> convolution;
  tensor<3> constant;
};

/// Declares vectors between matrices, as layers do.
template <class Table>
constexpr places declare(Table& table) {
  using name = typename Table::name;
  const name prefix = name("layers.") + 3 + ".x";
  places own;
  own.first = table.template add<2>(prefix + ".first", {3, 5}, initial);
  own.constant = table.template add_constant<3>(name("constant"), {2, 3, 4}, {initialisation::kind::directions, 1});
  own.gain = table.template add<1>(prefix + ".gain", {7}, {initialisation::kind::constant, 1});
  own.second = table.template add<2>(name("second"), {4, 4}, initial);
  own.convolution = table.add(name("convolution"), {2, 12}, {2, 4, 3}, initial);
  return own;
}

}  // namespace

TEST_CASE("memory plan: places are aligned and do not overlap") {
  memory_plan plan;
  const auto first = plan.add<1>({1}), second = plan.add<1>({16}), third = plan.add<1>({17});
  const auto last = plan.add<3>({2, 3, 4});
  CHECK(first.offset == 0);
  CHECK(second.offset == 16);
  CHECK(third.offset == 32);
  CHECK(last.offset == 64);
  CHECK(last.shape == std::array<strata::index_type, 3>{2, 3, 4});
  CHECK(plan.size() == 96);
}

TEST_CASE("memory plan: what cannot be counted is refused") {
  const strata::index_type large = strata::index_type{1} << 32;
  memory_plan plan;
  CHECK(plan.add<2>({large, large / 4}).shape[1] == large / 4);
  CHECK(message_of([&] { plan.add<2>({large, large}); }) == "a tensor of 4294967296 x 4294967296 elements");
  CHECK(message_of([&] { plan.add<2>({0, -1}); }) == "a tensor of 0 x -1 elements");
  CHECK(message_of([&] {
          plan.add<2>({large, large / 4});
        }) == "a plan of 4611686018427387904 + 4611686018427387904 elements");
  CHECK(plan.add<3>({large, 0, large}).offset == plan.size());
}

TEST_CASE("memory plan: a place that was not planned is none") {
  CHECK_FALSE(tensor<2>());
  memory_plan plan;
  CHECK(plan.add<1>({3}));
  std::vector<float> memory(32);
  const strata::tensor_memory<float> own{memory.data()};
  CHECK_FALSE(own.optional(tensor<2>()));
  CHECK(own.optional(plan.add<1>({3})).data == memory.data() + 16);
}

TEST_CASE("parameter plan: matrices come before vectors, and these before constants") {
  constexpr parameter_plan sizes = [] {
    parameter_plan plan;
    declare(plan);
    return plan;
  }();
  STATIC_REQUIRE(sizes.regions().first_vector == 16 + 16 + 32);
  STATIC_REQUIRE(sizes.regions().first_constant == 64 + 16);
  STATIC_REQUIRE(sizes.parameters() == 15 + 7 + 16 + 24);
  parameter_plan plan(sizes.regions());
  const places own = declare(plan);
  CHECK(own.first.offset == 0);
  CHECK(own.second.offset == 16);
  CHECK(own.convolution.offset == 32);
  CHECK(own.gain.offset == 64);
  CHECK(own.constant.offset == 80);
  CHECK(plan.buffer_size() == 80 + 32);
}

TEST_CASE("parameter table: the places of the plan, with names, shapes and starts") {
  constexpr strata::parameter_regions regions{
      .first_other_matrix = 64, .first_vector = 64, .first_constant = 80, .first_table = 112};
  parameter_plan plan(regions);
  parameter_table table(regions);
  const places planned = declare(plan), named = declare(table);
  CHECK(named.gain.offset == planned.gain.offset);
  CHECK(named.convolution.offset == planned.convolution.offset);
  CHECK(named.convolution.shape == planned.convolution.shape);

  const auto& entries = table.entries();
  REQUIRE(entries.size() == 5);
  CHECK(entries[0].name == "layers.3.x.first");
  CHECK(entries[1].name == "constant");
  CHECK(entries[2].name == "layers.3.x.gain");
  CHECK(entries[3].name == "second");
  CHECK(entries[4].name == "convolution");
  CHECK(entries[0].shape == std::vector<strata::index_type>{3, 5});
  CHECK(entries[1].shape == std::vector<strata::index_type>{2, 3, 4});
  CHECK(entries[4].shape == std::vector<strata::index_type>{2, 4, 3});
  CHECK(entries[1].offset == 80);
  CHECK(entries[2].offset == 64);
  CHECK(entries[4].offset == 32);
  CHECK(entries[1].size == 24);
  CHECK(entries[2].size == 7);
  CHECK(entries[4].size == 24);
  for (const auto& entry : entries)
    CHECK((entry.kind == strata::parameter_kind::constant) == (entry.name == "constant"));
  CHECK(entries[0].initial.distribution == initialisation::kind::uniform);
  CHECK(entries[0].initial.scale == 0.5);
  CHECK(entries[1].initial.distribution == initialisation::kind::directions);
  CHECK(entries[2].initial.distribution == initialisation::kind::constant);
}

TEST_CASE("parameter table: a name that is in use is refused") {
  parameter_table table({64, 80});
  declare(table);
  const std::string refusal =
      message_of([&] { table.add<1>(parameter_table::name("layers.") + 3 + ".x.gain", {7}, initial); });
  CHECK(missing_in(refusal, {"two parameters are called 'layers.3.x.gain'"}) == "");
}

TEST_CASE("tensor memory: a place becomes a view") {
  std::vector<float> memory(64);
  memory[16 + 7] = 3;
  const strata::tensor_memory<float> own{memory.data()};
  const tensor<2> place{16, {2, 5}};
  CHECK(own[place](1, 2) == 3);
}

TEST_CASE("parameter plan: hidden matrices come first, tables last, and matrices of losses are not hidden") {
  const auto declare_kinds = [](auto& table) {
    using name = typename std::remove_cvref_t<decltype(table)>::name;
    const initialisation initial{};
    std::array<strata::index_type, 7> offsets{};
    offsets[0] = table.add_table(name("table"), {3, 16}, initial).offset;
    offsets[1] = table.add_rows(name("rows"), {1, 16}, initial).offset;
    offsets[2] = table.add_stacked(name("stacked"), 3, {6, 16}, initial).offset;
    offsets[3] = table.add_output(name("output"), {2, 16}, initial).offset;
    offsets[4] = table.template add<2>(name("hidden"), {1, 16}, initial).offset;
    table.begin_losses();
    offsets[5] = table.template add<2>(name("head"), {5, 16}, initial).offset;
    offsets[6] = table.template add<1>(name("vector"), {16}, initial).offset;
    return offsets;
  };
  parameter_plan sizes;
  declare_kinds(sizes);
  const auto regions = sizes.regions();
  CHECK(regions.first_other_matrix == 7 * 16);
  CHECK(regions.first_vector == (7 + 8) * 16);
  CHECK(regions.first_constant == (7 + 8 + 1) * 16);
  CHECK(regions.first_table == regions.first_constant);
  parameter_plan plan(regions);
  parameter_table table(regions);
  const auto offsets = declare_kinds(plan);
  CHECK(offsets == std::array<strata::index_type, 7>{256, 112, 0, 128, 96, 160, 240});
  CHECK(declare_kinds(table) == offsets);
  CHECK(plan.buffer_size() == 256 + 48);
  CHECK(plan.parameters() == 304);
  CHECK(plan.table_parameters() == 48);
  using kind_type = strata::parameter_kind;
  const auto kinds = {kind_type::table,        kind_type::other_matrix,  kind_type::hidden_matrix,
                      kind_type::other_matrix, kind_type::hidden_matrix, kind_type::other_matrix,
                      kind_type::vector};
  auto entry = table.entries().begin();
  for (const auto kind : kinds) {
    CAPTURE(entry->name);
    CHECK(entry->kind == kind);
    CHECK(entry->parts == (entry->name == "stacked" ? 3 : 1));
    ++entry;
  }
}
