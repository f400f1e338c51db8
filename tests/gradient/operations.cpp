// The gradient of every operation of the reference backend against central differences of the operation itself.
#include <strata/layers/rotary.hpp>

#include "gradient/differences.hpp"

namespace strata {
namespace {

struct fixture {
  exact backend;
  workbench<exact> bench{backend, 5};
};

}  // namespace

TEST_CASE_METHOD(fixture, "gradient of embed") {
  const auto ids = bench.tokens(-1, 6, {20});
  const auto table = bench.normal({7, 3}), y = bench.unset({20, 3}), dy = bench.normal({20, 3});
  const auto dtable = bench.all(0, {7, 3});
  embed_backward(backend, ids, dy, dtable);
  CHECK(difference_error(table, dtable, [&] {
          embed(backend, ids, table, y, update::replace);
          return projection(y, dy);
        }) < difference_tolerance);
}

TEST_CASE_METHOD(fixture, "gradients of the learned token shift") {
  for (const int shift : {1, 2}) {
    const auto x = bench.normal({2, 5, 3}), y = bench.unset({2, 5, 3});
    const auto dy = bench.normal({2, 5, 3}), dx = bench.unset({2, 5, 3});
    const auto share = bench.normal({3}), dshare = bench.all(0, {3});
    const auto loss = [&] {
      add_previous(backend, x, share, shift, y);
      return projection(y, dy);
    };
    add_previous_backward(backend, x, share, shift, dy, dx, dshare);
    CHECK(difference_error(x, dx, loss) < difference_tolerance);
    CHECK(difference_error(share, dshare, loss) < difference_tolerance);
  }
}

TEST_CASE_METHOD(fixture, "gradients of linear") {
  const auto x = bench.normal({5, 7}), weight = bench.normal({3, 7});
  const auto y = bench.unset({5, 3}), dy = bench.normal({5, 3});
  const auto bias = bench.normal({3});
  const auto loss = [&] {
    linear(backend, x, weight, bias, y, update::replace);
    return projection(y, dy);
  };
  const auto dx = bench.unset({5, 7}), dweight = bench.all(0, {3, 7});
  const auto dbias = bench.all(0, {3});
  linear_backward_input(backend, dy, weight, dx, update::replace);
  linear_backward_weight(backend, dy, x, dweight, dbias);
  CHECK(difference_error(x, dx, loss) < difference_tolerance);
  CHECK(difference_error(weight, dweight, loss) < difference_tolerance);
  CHECK(difference_error(bias, dbias, loss) < difference_tolerance);
}

TEST_CASE_METHOD(fixture, "gradients of gelu and silu") {
  const auto x = bench.normal({50}, 2), y = bench.unset({50}), dy = bench.normal({50}), dx = bench.unset({50});
  gelu_backward(backend, x, dy, dx);
  CHECK(difference_error(x, dx, [&] {
          gelu(backend, x, y);
          return projection(y, dy);
        }) < difference_tolerance);
  silu_backward(backend, x, dy, dx);
  CHECK(difference_error(x, dx, [&] {
          silu(backend, x, y);
          return projection(y, dy);
        }) < difference_tolerance);
}

TEST_CASE_METHOD(fixture, "gradient of dropout") {
  const auto x = bench.normal({150}), y = bench.unset({150}), dy = bench.normal({150}), dx = bench.normal({150});
  const dropout_mask mask{0.3, 5, 2};
  const auto loss = [&] {
    fill(backend, 2, y);
    dropout(backend, mask, x, y, update::add);
    return projection(y, dy);
  };
  dropout(backend, mask, dy, dx, update::replace);
  CHECK(difference_error(x, dx, loss) < difference_tolerance);
}

TEST_CASE_METHOD(fixture, "gradients of rms_norm") {
  for (const int shift : {0, 1, 3}) {
    CAPTURE(shift);
    const auto x = bench.normal({2, 7, 5}), y = bench.unset({2, 7, 5}), dy = bench.normal({2, 7, 5});
    const auto gain = bench.normal({5}), factor = bench.unset({14});
    const auto loss = [&] {
      rms_norm(backend, x, gain, shift, y, factor);
      return projection(y, dy);
    };
    loss();
    const auto dx = bench.all(0, {2, 7, 5});
    const auto dgain = bench.all(0, {5});
    rms_norm_backward(backend, x, gain, shift, factor, dy, dx, dgain);
    CHECK(difference_error(x, dx, loss) < difference_tolerance);
    CHECK(difference_error(gain, dgain, loss) < difference_tolerance);
  }
}

TEST_CASE_METHOD(fixture, "gradients of layer_norm") {
  for (const int shift : {0, 1, 3}) {
    CAPTURE(shift);
    const auto x = bench.normal({2, 7, 5}), y = bench.unset({2, 7, 5}), dy = bench.normal({2, 7, 5});
    const auto gain = bench.normal({5}), bias = bench.normal({5}), factor = bench.unset({14}), mean = bench.unset({14});
    const auto loss = [&] {
      layer_norm(backend, x, gain, bias, shift, y, factor, mean);
      return projection(y, dy);
    };
    loss();
    const auto dx = bench.all(0, {2, 7, 5});
    const auto dgain = bench.all(0, {5}), dbias = bench.all(0, {5});
    layer_norm_backward(backend, x, gain, shift, factor, mean, dy, dx, dgain, dbias);
    CHECK(difference_error(x, dx, loss) < difference_tolerance);
    CHECK(difference_error(gain, dgain, loss) < difference_tolerance);
    CHECK(difference_error(bias, dbias, loss) < difference_tolerance);
  }
}

TEST_CASE_METHOD(fixture, "gradient of attention") {
  for (const index_type length : {1, 11})
    for (const index_type span : {1, 3, 100})
      for (const int dilation : {1, 2, 4}) {
        CAPTURE(length, span, dilation);
        const attention_shape shape{2, length, 2, 6, span, dilation};
        level_facts level;
        level.head_dim = shape.head_dim;
        level.full = span == 100;
        const index_type positions = (length + dilation - 1) / dilation;
        const auto table = bench.of(rotary_table<double>(level, positions), {4, positions, 3});
        const index_type rows = 2 * length, dim = shape.dim();
        const auto qkv = bench.normal({rows, 3 * dim}), dqkv = bench.unset({rows, 3 * dim});
        const auto y = bench.unset({rows, dim}), dy = bench.normal({rows, dim});
        const auto log_sum_exp = bench.unset({2, 2, length});
        const auto loss = [&] {
          attention(backend, shape, table, qkv, y, log_sum_exp);
          return projection(y, dy);
        };
        loss();
        attention_backward(backend, shape, table, qkv, y, log_sum_exp, dy, dqkv);
        CHECK(difference_error(qkv, dqkv, loss) < difference_tolerance);
      }
}

TEST_CASE_METHOD(fixture, "gradients of cross_attention") {
  for (const index_type tokens : {1, 13})
    for (const index_type span : {1, 4, 100})
      for (const int query_stride : {1, 4}) {
        CAPTURE(tokens, span, query_stride);
        // Two sequences of keys, finer and coarser; the second reaches less far.
        const index_type queries = (tokens + query_stride - 1) / query_stride;
        const cross_attention_shape first{2, queries, query_stride, (tokens + 1) / 2, 2, 2, 3, span};
        cross_attention_shape second = first;
        second.keys = (tokens + 7) / 8;
        second.key_stride = 8;
        second.span = 2;
        const index_type dim = first.dim();
        const auto query = bench.normal({2 * queries, dim}), dquery = bench.all(0, {2 * queries, dim});
        const auto near = bench.normal({2 * first.keys, 2 * dim}), dnear = bench.all(0, {2 * first.keys, 2 * dim});
        const auto far = bench.normal({2 * second.keys, 2 * dim}), dfar = bench.all(0, {2 * second.keys, 2 * dim});
        const auto near_bias = bench.normal({2, span}), dnear_bias = bench.all(0, {2, span});
        const auto far_bias = bench.normal({2, 2}), dfar_bias = bench.all(0, {2, 2});
        const auto y = bench.unset({2 * queries, dim}), dy = bench.normal({2 * queries, dim});
        const auto log_sum_exp = bench.unset({2, 2, queries});
        const auto loss = [&] {
          cross_attention(backend, first, query, near, near_bias, y, log_sum_exp, update::replace);
          cross_attention(backend, second, query, far, far_bias, y, log_sum_exp, update::add);
          return projection(y, dy);
        };
        loss();
        cross_attention_backward(backend, first, query, near, near_bias, y, log_sum_exp, dy, dquery, dnear, dnear_bias);
        cross_attention_backward(backend, second, query, far, far_bias, y, log_sum_exp, dy, dquery, dfar, dfar_bias);
        CHECK(difference_error(query, dquery, loss) < difference_tolerance);
        CHECK(difference_error(near, dnear, loss) < difference_tolerance);
        CHECK(difference_error(far, dfar, loss) < difference_tolerance);
        CHECK(difference_error(near_bias, dnear_bias, loss) < difference_tolerance);
        CHECK(difference_error(far_bias, dfar_bias, loss) < difference_tolerance);
      }
}

TEST_CASE_METHOD(fixture, "gradients of unfold, window_mean, repeat and subsample") {
  for (const auto& [compression, stride] : {std::pair<int, int>{2, 1}, {4, 2}, {4, 4}}) {
    CAPTURE(compression, stride);
    const index_type tokens = 11, positions = (tokens + stride - 1) / stride, column = 1;
    const int c = compression, s = stride;
    const auto x = bench.normal({2, tokens, 5}), dx = bench.unset({2, tokens, 5});
    const auto patches = bench.unset({2, positions, 5 * c}), dpatches = bench.normal({2, positions, 5 * c});
    for (const index_type first : {0, c - 1}) {
      fill(backend, 0, dx.flat());
      unfold_backward(backend, dpatches, c, s, first, dx);
      CHECK(difference_error(x, dx, [&] {
              unfold(backend, x, c, s, first, patches);
              return projection(patches, dpatches);
            }) < difference_tolerance);
    }

    const auto mean = bench.unset({2, positions, 5}), dmean = bench.normal({2, positions, 5});
    fill(backend, 0, dx.flat());
    window_mean_backward(backend, dmean, c, s, dx);
    CHECK(difference_error(x, dx, [&] {
            window_mean(backend, x, c, s, mean);
            return projection(mean, dmean);
          }) < difference_tolerance);

    const auto level = bench.normal({2, positions, 3}), dlevel = bench.all(0, {2, positions, 3});
    const auto wide = bench.all(0, {2, tokens, 5}), dwide = bench.normal({2, tokens, 5});
    repeat_backward(backend, dwide, s, column, dlevel);
    CHECK(difference_error(level, dlevel, [&] {
            repeat(backend, level, s, column, wide);
            return projection(wide, dwide);
          }) < difference_tolerance);

    const auto sampled = bench.unset({2, positions, 3}), dsampled = bench.normal({2, positions, 3});
    fill(backend, 0, dx.flat());
    subsample_backward(backend, dsampled, s, column, dx);
    CHECK(difference_error(x, dx, [&] {
            fill(backend, 0, sampled.flat());
            subsample(backend, x, s, column, sampled);
            return projection(sampled, dsampled);
          }) < difference_tolerance);
  }
}

TEST_CASE_METHOD(fixture, "gradients of routing") {
  for (const int dilation : {1, 4}) {
    const auto scores = bench.normal({2, 11}), budget = bench.unset({dilation, 2}), gate = bench.unset({2, 8});
    const auto rows = bench.tokens(0, 0, {2, 8});
    const auto x = bench.normal({16, 3}), dx = bench.unset({16, 3});
    const auto y = bench.unset({22, 3}), dy = bench.normal({22, 3});
    const auto dscore = bench.unset({22});
    const auto loss = [&] {
      fill(backend, 0, budget.flat());
      fill(backend, 0, y.flat());
      route(backend, 0.5, dilation, 0, scores, budget, rows, gate);
      add_routed(backend, rows.flat(), gate.flat(), x, y);
      return projection(y, dy);
    };
    loss();
    add_routed_backward(backend, rows.flat(), gate.flat(), x, dy, dx, dscore);
    CHECK(difference_error(x, dx, loss) < difference_tolerance);
    CHECK(difference_error(scores, dscore.reshape<2>({2, 11}), loss) < difference_tolerance);
  }
}

TEST_CASE_METHOD(fixture, "gradients of take_columns and depthwise") {
  const index_type tokens = 11;
  for (const auto& [from_stride, to_stride] : {std::pair<int, int>{1, 1}, {4, 1}, {1, 4}, {4, 2}, {2, 4}}) {
    CAPTURE(from_stride, to_stride);
    const index_type from = (tokens + from_stride - 1) / from_stride, to = (tokens + to_stride - 1) / to_stride;
    const column_range range{from_stride, 1, to_stride, 2, 3};
    const auto x = bench.normal({2, from, 5}), dx = bench.all(0, {2, from, 5});
    const auto y = bench.all(0, {2, to, 6}), dy = bench.normal({2, to, 6});
    take_columns_backward(backend, dy, range, dx);
    CHECK(difference_error(x, dx, [&] {
            take_columns(backend, x, range, y);
            return projection(y, dy);
          }) < difference_tolerance);

    const int stride = from_stride;
    const auto weight = bench.normal({5}), dweight = bench.all(0, {5}), bias = bench.normal({5});
    const auto dbias = bench.all(0, {5});
    const auto wide = bench.unset({2, tokens, 5}), dwide = bench.normal({2, tokens, 5});
    const auto loss = [&] {  // twice, the second time without a bias
      depthwise(backend, x, stride, weight, bias, wide, update::replace);
      depthwise(backend, x, stride, weight, {}, wide, update::add);
      return projection(wide, dwide);
    };
    fill(backend, 0, dx.flat());
    depthwise_backward(backend, x, stride, weight, dwide, dx, dweight, dbias);
    depthwise_backward(backend, x, stride, weight, dwide, dx, dweight, {});
    CHECK(difference_error(x, dx, loss) < difference_tolerance);
    CHECK(difference_error(weight, dweight, loss) < difference_tolerance);
    CHECK(difference_error(bias, dbias, loss) < difference_tolerance);
  }
}

TEST_CASE_METHOD(fixture, "gradient of cross_entropy") {
  for (const token ignore : {-1, 0}) {
    const auto logits = bench.normal({20, 6}, 2), gradient = bench.unset({20, 6});
    const auto targets = bench.tokens(-1, 5, {20});
    const auto loss = bench.all(0, {1});
    cross_entropy(backend, logits, targets, ignore, 0.7, loss, gradient);
    CHECK(difference_error(logits, gradient, [&] {
            fill(backend, 0, loss);
            cross_entropy(backend, logits, targets, ignore, 1, loss, {});
            return 0.7 * loss(0);
          }) < difference_tolerance);
  }
}

TEST_CASE_METHOD(fixture, "gradients of cosine_distance") {
  const auto prediction = bench.normal({2, 6, 5}), dprediction = bench.unset({2, 6, 5});
  const auto embedding = bench.normal({2, 6, 5}), dembedding = bench.all(0, {2, 6, 5});
  const auto result = bench.all(0, {1});
  const auto loss = [&] {
    fill(backend, 0, result);
    cosine_distance(backend, prediction, embedding, 1, result, {}, {});
    return 0.7 * result(0);
  };
  cosine_distance(backend, prediction, embedding, 0.7, result, dprediction, dembedding);
  CHECK(difference_error(prediction, dprediction, loss) < difference_tolerance);
  CHECK(difference_error(embedding, dembedding, loss) < difference_tolerance);
}

TEST_CASE_METHOD(fixture, "gradients of embedding_distance") {
  for (const distance_settings& settings : {distance_settings{.squared = 1, .share = 0.5},
                                            {.squared = 0, .smooth = 1, .decay = 0.3},
                                            {.squared = 0.1, .smooth = 0.4, .cosine = 0.9, .decay = 2}}) {
    const auto prediction = bench.normal({2, 4, 5}), dprediction = bench.unset({2, 4, 5});
    const auto embedding = bench.normal({2, 7, 5}), dembedding = bench.all(0, {2, 7, 5});
    const auto targets = bench.tokens_of({0, 3, -1, 1, 1, 2, 0, 4}, {8});
    const auto before = bench.normal({8}), lost = bench.unset({8}), result = bench.all(0, {1});
    const auto loss = [&] {
      fill(backend, 0, result);
      copy(backend, before, lost);
      embedding_distance(backend, settings, prediction, embedding, 2, targets, 0, 1, result, lost, {}, {});
      return 0.7 * result(0);
    };
    copy(backend, before, lost);
    embedding_distance(backend, settings, prediction, embedding, 2, targets, 0, 0.7, result, lost, dprediction,
                       dembedding);
    CHECK(difference_error(prediction, dprediction, loss) < difference_tolerance);
    CHECK(difference_error(embedding, dembedding, loss) < difference_tolerance);
  }
}

TEST_CASE_METHOD(fixture, "gradients of sigmoid_pairs") {
  // Rows 3 .. 7 of the matrix of 12 pairs.
  const auto cosines = bench.normal({5, 12}), gradient = bench.unset({5, 12});
  const auto log_scale = bench.all(0.7, {1}), bias = bench.all(-0.4, {1});
  const auto dlog_scale = bench.all(0, {1}), dbias = bench.all(0, {1});
  const auto result = bench.all(0, {1});
  const auto loss = [&] {
    fill(backend, 0, result);
    sigmoid_pairs(backend, cosines, 3, log_scale, bias, 1, result, {}, {});
    return 0.7 * result(0);
  };
  copy(backend, cosines.flat(), gradient.flat());
  sigmoid_pairs(backend, gradient, 3, log_scale, bias, 0.7, result, dlog_scale, dbias);
  CHECK(difference_error(cosines, gradient, loss) < difference_tolerance);
  CHECK(difference_error(log_scale, dlog_scale, loss) < difference_tolerance);
  CHECK(difference_error(bias, dbias, loss) < difference_tolerance);
}

}  // namespace strata
