// The models that compress_text can learn with, and one of them at work. network.cpp holds their descriptions.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include <strata/cpu.hpp>

#include "mixer.hpp"

namespace compress_text {

/// How a model learns. All of it changes the compressed file, which holds a copy.
struct learning {
  strata::index_type streams = 8;       ///< most texts that advance together
  strata::index_type step_bytes = 256;  ///< bytes between two training steps, in all streams; fewer at the start
  strata::index_type window = 64;       ///< bytes of each stream that a training step is given, new and known ones
  strata::index_type replays =
      0;  ///< further training steps, each on random windows that were read before: this helps more than a larger model
  double learning_rate = 2e-3;
  double beta2 = 0.99;
  double weight_decay = 0.01;
  mixer_options mixer = {};
};
nlohmann::json to_json(const learning& own);

/// A model that predicts the next byte of several texts, and learns.
class network {
 public:
  virtual ~network() = default;
  /// Forgets the texts, but nothing that was learned.
  virtual void begin_texts(strata::index_type streams) = 0;
  /// Reads one byte of every text; returns the logits of the next, [streams,256].
  virtual strata::view<const float, 2> step(std::span<const strata::token> ids) = 0;
  /// One training step on rows of tokens, [streams,window+1].
  virtual void train(strata::view<const strata::token, 2> rows) = 0;
};

/// A size of model that a user can choose.
struct size_of_model {
  const char* name;
  learning how;
  nlohmann::json (*description)();
  std::unique_ptr<network> (*make)(strata::cpu& backend, const learning& how);
};
/// The size of this name; null if there is none.
const size_of_model* size_named(const std::string& name);

}  // namespace compress_text
