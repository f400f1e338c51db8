// Levels whose boundaries the model learns.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <strata/reference.hpp>

#include "support/catch.hpp"
#include "support/generation.hpp"

namespace strata {
namespace {

constexpr level outer_bytes{.dim = 4, .heads = 1, .head_dim = 2, .window = 5, .before = 1, .after = 1};
constexpr level learned_level{
    .compression = 2, .stride = 2, .dim = 6, .heads = 1, .head_dim = 4, .window = 2, .boundaries = boundaries::learned};
constexpr description learns_once{
    .vocabulary = 11, .max_length = 64, .depth = 4, .levels = {outer_bytes, learned_level}};
/// The innermost level is listed first: the order in the list does not matter.
constexpr description learns_twice = with(learns_once, [](auto& d) {
  d.depth = 6;
  d.levels = {learned_level, outer_bytes, learned_level};
  d.levels[0].compression = d.levels[0].stride = 4;
  d.levels[0].dim = 8;
  d.levels[0].compressor = compressor_kind::padding;
  d.levels[2].before = d.levels[2].after = 1;
});
constexpr description pairs_of_learned = with(learns_twice, [](auto& d) {
  d.levels[0].boundaries = boundaries::every_stride;
  d.levels[0].upsampling = upsampling_kind::by_offset;
});

/// Random weights, also of boundaries, which start as unit matrices: so some rows begin positions and others do not.
template <const auto& D, class Backend, class Learns>
void spread_boundaries(transformer<D, Backend, Learns>& model) {
  const random_source random(3);
  const auto weights = model.weights();
  for (const parameter_entry& entry : transformer<D, Backend, Learns>::parameters_type::entries())
    if (entry.name.starts_with("boundaries."))
      for (index_type n = 0; n < entry.size; ++n)
        weights(entry.offset + n) += 0.7 * random.normal(9, static_cast<std::uint64_t>(entry.offset + n));
}
std::vector<token> some_tokens(std::size_t count) {
  const random_source random(4);
  std::vector<token> ids(count);
  for (std::size_t n = 0; n < count; ++n) ids[n] = static_cast<token>(random.below(11, 1, n));
  return ids;
}

/// The reference, whose boundaries stay where they were when `frozen` was set, and whose straight-through factors are
/// 1 + c - (c when `frozen` was set): their value is 1, their gradient that of c.
struct frozen_boundaries : reference<double> {
  bool frozen = false, has_probabilities = false;
  std::map<index_type, std::vector<double>> kept, now;  ///< probabilities of boundaries, by their number
};
void boundary_probability(frozen_boundaries& backend, input<double, 3> query, input<double, 3> key,
                          output<double, 2> p) {
  boundary_probability(static_cast<reference<double>&>(backend), query, key, p);
  backend.has_probabilities = true;
}
/// After probabilities are computed the host asks for them, to decide.
void download(frozen_boundaries& backend, view<const double, 1> x, view<double, 1> host) {
  download(static_cast<reference<double>&>(backend), x, host);
  if (!std::exchange(backend.has_probabilities, false)) return;
  std::vector<double>& now = backend.now[x.size()];
  now.assign(host.data, host.data + host.size());
  if (!backend.frozen) backend.kept[x.size()] = now;
  if (const auto& kept = backend.kept[x.size()]; backend.frozen) std::copy(kept.begin(), kept.end(), host.data);
}
void embed(frozen_boundaries& backend, view<const token, 1> ids, input<double, 2> table, output<double, 2> y,
           update mode) {
  reference<double>& plain = backend;
  if (mode != update::add || !backend.now.contains(y.shape[0])) return embed(plain, ids, table, y, mode);
  const std::vector<double>&now = backend.now[y.shape[0]], &kept = backend.kept[y.shape[0]];
  const auto confidence = [](double p, double at_first) { return begins_position(at_first) ? p : 1 - p; };
  for (index_type r = 0; r < y.shape[0]; ++r) {
    const auto n = static_cast<std::size_t>(r);
    const double factor = 1 + confidence(now[n], kept[n]) - confidence(kept[n], kept[n]);
    for (index_type d = 0; d < y.shape[1]; ++d) y(r, d) += factor * table(ids(r), d);
  }
}

}  // namespace

TEST_CASE("gradients through learned boundaries are those of finite differences with the boundaries frozen") {
  const auto check = [&]<const auto & D>() {
    frozen_boundaries backend;
    transformer<D, frozen_boundaries, losses<boundary_ratio_loss>> model(backend, 5);
    spread_boundaries(model);
    const auto ids = some_tokens(2 * 23);
    const view<const token, 2> batch{ids.data(), {2, 23}};
    model.clear_gradients();
    const auto report = model.accumulate_gradients(batch);
    CHECK(report.values["boundary_ratio"] > 0.5);
    for (int l = 0; l < facts<D>::level_count; ++l) {
      if (!facts<D>::levels[l].ragged) continue;
      const index_type positions = model.embeddings(l).shape[1];
      CHECK((positions > 2 && positions < 2 * 22));
    }
    backend.frozen = true;
    const auto weights = model.weights();
    for (const parameter_entry& entry : parameters<D, losses<boundary_ratio_loss>>::entries()) {
      CAPTURE(entry.name);
      const auto gradient = model.gradient_of(entry);
      for (const index_type n : {index_type{0}, entry.size / 2, entry.size - 1}) {
        double& own = weights(entry.offset + n);
        const double before = own, h = 1e-6;
        own = before + h;
        const double up = model.losses(batch).total;
        own = before - h;
        const double down = model.losses(batch).total;
        own = before;
        CHECK(std::abs((up - down) / (2 * h) - gradient[static_cast<std::size_t>(n)]) < 1e-7);
      }
    }
  };
  check.template operator()<learns_once>();
  check.template operator()<learns_twice>();
  check.template operator()<pairs_of_learned>();
}

TEST_CASE("with learned boundaries no logit depends on a later token, or on the texts beside it") {
  reference<double> backend;
  transformer<learns_twice, reference<double>, losses<boundary_ratio_loss>> model(backend, 5);
  spread_boundaries(model);
  const auto both = some_tokens(2 * 22);
  const auto together = model.forward({both.data(), {2, 22}});
  const std::vector<double> whole(together.data, together.data + together.size());
  for (index_type b = 0; b < 2; ++b) {
    std::vector<token> ids(both.begin() + b * 22, both.begin() + (b + 1) * 22);
    const auto first = whole.begin() + b * 22 * 11;
    const auto alone = model.forward({ids.data(), {1, 22}});
    CHECK(std::equal(first, first + 22 * 11, alone.data));
    for (index_type t = 0; t + 1 < 22; ++t) {
      auto changed = ids;
      for (index_type later = t + 1; later < 22; ++later) {
        token& id = changed[static_cast<std::size_t>(later)];
        id = (id + 5) % 11;
      }
      const auto other = model.forward({changed.data(), {1, 22}});
      CHECK(std::equal(first, first + (t + 1) * 11, other.data));
    }
  }
}

TEST_CASE("with learned boundaries recomputed activations give the same bits") {
  reference<double> backend;
  transformer<learns_twice, reference<double>, losses<boundary_ratio_loss>> model(backend, 5);
  spread_boundaries(model);
  const auto gradients = [&](bool recompute) {
    model.recompute_activations(recompute);
    model.clear_gradients();
    for (const std::size_t length : {14u, 23u, 9u}) {  // memory grows in the middle of a pass
      const auto ids = some_tokens(2 * length);
      model.accumulate_gradients({ids.data(), {2, static_cast<index_type>(length)}});
    }
    const auto own = model.gradients();
    return std::vector<double>(own.data, own.data + own.size());
  };
  CHECK(gradients(true) == gradients(false));
}

TEST_CASE("with learned boundaries a generator gives the logits of the whole pass") {
  using B = reference<double>;
  B backend;
  const auto worst_difference = [&]<const auto & D>(index_type prompt, bool merge) {
    transformer<D, B, losses<boundary_ratio_loss>> model(backend, 7);
    spread_boundaries(model);
    const auto ids = some_tokens(2 * 22);
    return worst_difference_of_generator(model, ids, prompt, merge);
  };
  for (const bool merge : {true, false})
    for (const index_type prompt : {0, 2, 5, 9, 14, 21}) {
      CAPTURE(merge, prompt);
      CHECK(worst_difference.template operator()<learns_once>(prompt, merge) < 1e-12);
      CHECK(worst_difference.template operator()<learns_twice>(prompt, merge) < 1e-12);
      CHECK(worst_difference.template operator()<pairs_of_learned>(prompt, merge) < 1e-12);
    }
}

TEST_CASE("what follows the end of a row changes neither the boundaries nor the losses") {
  reference<double> backend;
  transformer<learns_twice, reference<double>, losses<boundary_ratio_loss>> model(backend, 5);
  spread_boundaries(model);
  auto ids = some_tokens(12);
  const auto whole = model.losses({ids.data(), {1, 12}});
  model.forward({ids.data(), {1, 12}});
  const auto begins = model.starts(0);
  ids.resize(30, no_token);
  const auto padded = model.losses({ids.data(), {1, 30}});
  CHECK(model.starts(0) == begins);
  CHECK(padded.values["cross_entropy"] == Approx(whole.values["cross_entropy"]).epsilon(1e-12));
}

}  // namespace strata
