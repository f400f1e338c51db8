// Generation as by strata::generator::generate, but with a look at every position: a program can show how far it is and
// stop, also while a long prompt is read.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <strata/strata.hpp>

#include "console.hpp"

namespace examples {

/// The bytes of a text as tokens.
inline std::vector<strata::token> tokens_of(const std::string& text) {
  std::vector<strata::token> tokens;
  for (const char letter : text) tokens.push_back(static_cast<unsigned char>(letter));
  return tokens;
}

/// Continues each prompt by `count` tokens and calls sink(row, token) for each. After the forward pass over the first
/// `max_length` tokens, it asks go_on(position, positions) before each position, and ends where that is false.
template <const auto& D, class Backend, class GoOn, class Sink>
void continue_texts(strata::generator<D, Backend>& writer, Backend& backend,
                    const std::vector<std::vector<strata::token>>& prompts, strata::index_type count,
                    const strata::sampling_options& options, GoOn go_on, Sink sink) {
  using strata::index_type, strata::token;
  using scalar = typename Backend::scalar;
  const auto batch = static_cast<index_type>(prompts.size());
  const auto length = [&](std::size_t row) { return static_cast<index_type>(prompts[row].size()); };
  index_type longest = length(0), shortest = length(0);
  for (std::size_t row = 0; row < prompts.size(); ++row) {
    longest = std::max(longest, length(row));
    shortest = std::min(shortest, length(row));
  }
  if (longest - 1 + count < shortest) return;  // nothing to generate, and all prompts are equally long

  std::vector<token> ids;
  index_type position = std::min<index_type>(shortest, D.max_length);
  for (const auto& prompt : prompts) ids.insert(ids.end(), prompt.begin(), prompt.begin() + position);
  writer.reset();
  auto logits = writer.read({ids.data(), {batch, position}});
  ids.resize(prompts.size());
  typename Backend::template storage<scalar> device_logits(logits.size());
  typename Backend::template storage<token> drawn(batch);
  const index_type end = longest + count;
  for (; go_on(position, end); ++position) {
    if (position >= shortest) {
      upload(backend, logits.flat(), device_logits.view());
      sample(backend, options, static_cast<std::uint64_t>(position - 1),
             device_logits.view().template reshape<2>({batch, logits.shape[1]}), drawn.view());
      download_tokens(backend, drawn.view(), {ids.data(), {batch}});
    }
    for (std::size_t row = 0; row < prompts.size(); ++row) {
      if (position < length(row)) {
        ids[row] = prompts[row][static_cast<std::size_t>(position)];
      } else if (position < length(row) + count) {
        strata::require(ids[row] >= 0, "the logits of text ", row + 1, " after ", counted(position, "byte"),
                        " are not numbers; the weights may be damaged");
        sink(static_cast<index_type>(row), ids[row]);
      }
    }
    if (position + 1 == end) return;
    logits = writer.step({ids.data(), {batch}});
  }
}

}  // namespace examples
