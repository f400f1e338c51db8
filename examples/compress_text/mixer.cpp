#include "mixer.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "range_coder.hpp"

namespace compress_text {
namespace {

constexpr int seen_most = 255;
constexpr int seen_buckets = 16, odds_buckets = 33;
constexpr int match_buckets = 32, match_needed = 5, match_most = 400;
constexpr float most_odds = 12;

float odds(float probability) { return std::log(probability / (1 - probability)); }
float probability_of(float odds) { return 1 / (1 + std::exp(-std::clamp(odds, -most_odds, most_odds))); }

std::uint32_t hashed(std::uint64_t value) { return static_cast<std::uint32_t>((value * 0x9e3779b97f4a7c15u) >> 32); }

int bits_of(int value) { return static_cast<int>(std::bit_width(static_cast<unsigned>(value))); }
int seen_bucket(int seen) { return seen < 8 ? seen : std::min(seen_buckets - 1, 5 + bits_of(seen)); }
int match_bucket(int length) { return length < 16 ? length : std::min(match_buckets - 1, 12 + length / 16 + 3); }

/// Log odds of probabilities of 16 bits, by their upper 12.
const std::array<float, 4096>& odds_table() {
  static const std::array<float, 4096> table = [] {
    std::array<float, 4096> result{};
    for (std::size_t n = 0; n < result.size(); ++n) result[n] = odds((static_cast<float>(n) + 0.5f) / 4096);
    return result;
  }();
  return table;
}

/// How much of its error a counter corrects, after it has seen so many bits.
const std::array<int, seen_most + 1>& counter_rates() {
  static const std::array<int, seen_most + 1> table = [] {
    std::array<int, seen_most + 1> result{};
    for (int n = 0; n <= seen_most; ++n) result[static_cast<std::size_t>(n)] = static_cast<int>(65536 / (n + 1.6));
    return result;
  }();
  return table;
}

}  // namespace

byte_mixer::byte_mixer(int streams, mixer_options options) : options_(options) {
  history_.resize(std::size_t{1} << options_.history_bits);
  last_places_.resize(std::size_t{1} << std::min(options_.history_bits, 22));
  for (auto& each : counters_) each.resize(std::size_t{1} << options_.counter_bits);
  calibrated_.resize(std::size_t{orders} * seen_buckets * odds_buckets);
  for (std::size_t n = 0; n < calibrated_.size(); ++n)
    calibrated_[n] = probability_of((static_cast<float>(n % odds_buckets) - 16) / 2);
  match_calibrated_.resize(match_buckets);
  for (std::size_t n = 0; n < match_buckets; ++n) match_calibrated_[n] = 1 - 1 / (static_cast<float>(n) + 2);
  order0_.fill(0.5f);
  for (auto* refined : {&refined1_, &refined2_}) {
    refined->resize(std::size_t{65536} * odds_buckets);
    for (std::size_t n = 0; n < refined->size(); ++n)
      (*refined)[n] = probability_of((static_cast<float>(n % odds_buckets) - 16) / 2);
  }
  input_list start;
  start.fill(0.15f);
  start[2 * orders] = 0.4f;  // the network
  weights_[0].assign(8 * (orders + 1) * 4, start);
  weights_[1].assign(256, start);
  weights_[2].assign(256, start);
  final_weights_.assign(256, {1.0f / sets, 1.0f / sets, 1.0f / sets});
  begin_texts(streams);
}

void byte_mixer::begin_texts(int streams) {
  // Places in the history keep their meaning: only the parts in which the streams write have other sizes.
  part_ = static_cast<std::uint32_t>(history_.size() / static_cast<std::size_t>(streams));
  const std::vector<stream> before = std::move(streams_);
  streams_.assign(static_cast<std::size_t>(streams), stream{});
  for (std::size_t n = 0; n < streams_.size(); ++n)
    if (before.size() == streams_.size()) streams_[n].position = before[n].position;
}

std::uint32_t byte_mixer::next_place(std::uint32_t place) const {
  const std::uint32_t first = place / part_ * part_;
  return first + (place - first + 1) % part_;
}

byte_mixer::counter& byte_mixer::counter_of(int order) {
  const std::uint32_t mixed = hashed(current_->contexts[static_cast<std::size_t>(order)] +
                                     std::uint64_t{0x2545f491} * static_cast<unsigned>(node_));
  auto& table = counters_[static_cast<std::size_t>(order)];
  counter& found = table[mixed >> (32 - options_.counter_bits)];
  const auto check = static_cast<std::uint8_t>(mixed & 255);
  if (found.check != check) found = {.check = check};
  return found;
}

void byte_mixer::begin_byte(int number, std::span<const float> logits) {
  number_ = number;
  current_ = &streams_[static_cast<std::size_t>(number)];
  node_ = 1;
  const float largest = *std::max_element(logits.begin(), logits.end());
  for (std::size_t v = 0; v < 256; ++v) shares_[256 + v] = std::exp(logits[v] - largest) + 1e-7f;
  for (std::size_t n = 255; n > 0; --n) shares_[n] = shares_[2 * n] + shares_[2 * n + 1];
  // A network that computes no numbers predicts nothing.
  if (!std::isfinite(shares_[1]))
    for (std::size_t n = 511; n > 0; --n) shares_[n] = n >= 256 ? 1 : shares_[2 * n] + shares_[2 * n + 1];
  // How sure the network is: the largest share is 1.
  network_bucket_ = std::clamp(static_cast<int>(4 * std::log2(shares_[1]) / 2), 0, 7);
}

std::uint32_t byte_mixer::frequency() {
  const stream& own = *current_;
  const auto node = static_cast<std::size_t>(node_);
  int known = 0;
  for (std::size_t order = 0; order < orders; ++order) {
    counter& found = counter_of(static_cast<int>(order));
    chosen_[order] = &found;
    const float own_odds = odds_table()[found.probability >> 4];
    const int bucket = std::clamp(static_cast<int>(std::lround(own_odds * 2)) + 16, 0, odds_buckets - 1);
    chosen_calibrated_[order] =
        &calibrated_[(order * seen_buckets + static_cast<std::size_t>(seen_bucket(found.seen))) * odds_buckets +
                     static_cast<std::size_t>(bucket)];
    known += found.seen > 0;
    inputs_[2 * order] = found.seen == 0 ? 0 : own_odds;
    inputs_[2 * order + 1] = found.seen == 0 ? 0 : odds(*chosen_calibrated_[order]);
  }
  const float network = shares_[2 * node + 1] / shares_[node];
  const float network_odds = odds(std::clamp(network, 1e-6f, 1 - 1e-6f));
  inputs_[2 * orders] = network_odds;
  inputs_[2 * orders + 1] = (network - 0.5f) * 2;
  inputs_[2 * orders + 2] = odds(order0_[node]);
  inputs_[2 * orders + 3] = 0;
  inputs_[2 * orders + 4] = 0.3f;
  chosen_match_ = nullptr;
  int match_set = 0;
  if (own.match_length > 0) {
    const unsigned expected = history_[own.match] + 256u;
    const int rest = 9 - bits_of(node_);
    if (expected >> rest == static_cast<unsigned>(node_)) {
      expected_bit_ = expected >> (rest - 1) & 1;
      chosen_match_ = &match_calibrated_[static_cast<std::size_t>(match_bucket(own.match_length))];
      const float of_match = odds(*chosen_match_);
      inputs_[2 * orders + 3] = expected_bit_ ? of_match : -of_match;
      match_set = own.match_length < 16 ? 1 : own.match_length < 32 ? 2 : 3;
    }
  }
  chosen_weights_ = {&weights_[0][static_cast<std::size_t>((network_bucket_ * (orders + 1) + known) * 4 + match_set)],
                     &weights_[1][node], &weights_[2][own.recent & 255]};
  chosen_final_ = &final_weights_[node];
  mixed_odds_ = 0;
  for (std::size_t set = 0; set < sets; ++set) {
    float sum = 0;
    for (std::size_t n = 0; n < inputs; ++n) sum += (*chosen_weights_[set])[n] * inputs_[n];
    output_odds_[set] = std::clamp(sum, -most_odds, most_odds);
    outputs_[set] = probability_of(output_odds_[set]);
    mixed_odds_ += (*chosen_final_)[set] * output_odds_[set];
  }
  mixed_odds_ = std::clamp(mixed_odds_, -most_odds, most_odds);
  mixed_ = probability_of(mixed_odds_);

  // What was mixed is corrected by how often such a probability was right after the last byte, and the last two.
  const float place = std::clamp(mixed_odds_ * 2, -15.999f, 15.999f) + 16;
  const auto below = static_cast<std::size_t>(place);
  const float share = place - static_cast<float>(below);
  const std::uint32_t first = static_cast<std::uint32_t>(own.recent & 255) * 256 + static_cast<unsigned>(node_);
  const std::uint32_t second = hashed((own.recent & 0xffff) * 256 + static_cast<unsigned>(node_) + 0x1234567) >> 16;
  float refined = 0;
  for (std::size_t n = 0; n < 2; ++n) {
    float* const low = &(n == 0 ? refined1_ : refined2_)[(n == 0 ? first : second) * odds_buckets + below];
    chosen_refined_[n] = low;
    refined += 0.25f * (low[0] * (1 - share) + low[1] * share);
  }
  refined_share_ = share;
  const float probability = 0.5f * mixed_ + refined;
  const float scaled = probability * static_cast<float>(frequency_sum);
  return static_cast<std::uint32_t>(std::clamp(scaled, 1.0f, static_cast<float>(frequency_sum - 1)));
}

void byte_mixer::learn(bool bit) {
  const float target = bit ? 1.0f : 0.0f;
  for (std::size_t order = 0; order < orders; ++order) {
    counter& own = *chosen_[order];
    if (own.seen > 0) *chosen_calibrated_[order] += (target - *chosen_calibrated_[order]) * 0.02f;
    *chosen_calibrated_[order] = std::clamp(*chosen_calibrated_[order], 1e-4f, 1 - 1e-4f);
    const int error = (bit ? 65535 : 0) - own.probability;
    const int rate = counter_rates()[own.seen];
    own.probability = static_cast<std::uint16_t>(own.probability + (std::int64_t{error} * rate >> 16));
    if (own.seen < (order < 2 ? 250 : 60)) ++own.seen;
  }
  const auto node = static_cast<std::size_t>(node_);
  order0_[node] = std::clamp(order0_[node] + (target - order0_[node]) * 0.01f, 1e-4f, 1 - 1e-4f);
  if (chosen_match_ != nullptr) {
    const float right = bit == expected_bit_ ? 1.0f : 0.0f;
    *chosen_match_ = std::clamp(*chosen_match_ + (right - *chosen_match_) * 0.01f, 1e-4f, 1 - 1e-4f);
    if (bit != expected_bit_) current_->match_length = 0;
  }
  const float final_error = (target - mixed_) * 0.002f;
  for (std::size_t set = 0; set < sets; ++set) {
    const float error = (target - outputs_[set]) * rate_;
    (*chosen_final_)[set] += final_error * output_odds_[set];
    for (std::size_t n = 0; n < inputs; ++n) (*chosen_weights_[set])[n] += error * inputs_[n];
  }
  for (float* const low : chosen_refined_) {
    low[0] += (target - low[0]) * (1 - refined_share_) * 0.02f;
    low[1] += (target - low[1]) * refined_share_ * 0.02f;
  }
  rate_ = std::max(0.002f, rate_ * 0.99995f);
  node_ = 2 * node_ + bit;
  if (node_ >= 256) end_byte();
}

void byte_mixer::end_byte() {
  stream& own = *current_;
  const auto byte = static_cast<std::uint8_t>(node_ - 256);
  own.recent = own.recent << 8 | byte;
  const std::uint32_t place = static_cast<std::uint32_t>(number_) * part_ + own.position;
  history_[place] = byte;
  own.position = (own.position + 1) % part_;

  const bool letter = (byte | 32) >= 'a' && (byte | 32) <= 'z';
  if (!letter && byte < 128 && own.word != 0) own.word_before = own.word;
  own.word = letter || byte >= 128 ? hashed(std::uint64_t{own.word} * 0x2f0b4c47 + (byte | 32u) + 1) : 0;
  for (std::size_t order = 0; order < 6; ++order) {
    const std::uint64_t bytes = own.recent & ((std::uint64_t{1} << 8 * (order + 1)) - 1);
    own.contexts[order] = hashed(bytes * 8 + order);
  }
  own.contexts[6] = hashed(own.word * std::uint64_t{0x3c6ef35f} + (own.word == 0 ? own.recent & 0xffff : 0));
  own.contexts[7] = hashed(own.contexts[6] + std::uint64_t{0x51ed2701} * own.word_before + 7);
  own.contexts[8] = hashed((own.recent & 0xffffff00) + 8);
  find_match(own);
  node_ = 1;
}

void byte_mixer::find_match(stream& own) {
  if (own.match_length > 0) {
    own.match = next_place(own.match);
    own.match_length = std::min(own.match_length + 1, match_most);
  }
  std::uint32_t& last = last_places_[hashed((own.recent & 0xffffffffffu) * 31) >>
                                     (32 - bits_of(static_cast<int>(last_places_.size() - 1)))];
  const std::uint32_t first = static_cast<std::uint32_t>(number_) * part_;
  const auto here = first + own.position;  // of the next byte
  if (own.match_length == 0 && last > 0) {
    std::uint32_t place = last - 1;  // of the byte after the repeated ones
    int length = 0;
    std::uint32_t back = place;
    while (length < 8) {
      const std::uint32_t begin = back / part_ * part_;
      back = back == begin ? begin + part_ - 1 : back - 1;
      if (history_[back] != (own.recent >> 8 * length & 255)) break;
      ++length;
    }
    if (length >= match_needed) {
      own.match = place;
      own.match_length = length;
    }
  }
  last = here + 1;
}

}  // namespace compress_text
