#include "summary.hpp"

#include <algorithm>
#include <cmath>

#include <strata/io/file.hpp>

namespace experiments {

statistics describe(const std::vector<double>& numbers) {
  statistics own{.count = numbers.size()};
  const auto count = static_cast<double>(numbers.size());
  for (const double number : numbers) own.mean += number / count;
  for (const double number : numbers) own.deviation += (number - own.mean) * (number - own.mean);
  own.deviation = numbers.size() > 1 ? std::sqrt(own.deviation / (count - 1)) : 0;
  return own;
}

double tokens_of(const settings& own, strata::index_type steps) {
  return static_cast<double>(steps) * own.tokens_a_step();
}

std::vector<summary> summarise(const settings& own, const std::vector<result>& results) {
  const comparison& among = find_comparison(own.table);
  std::vector<summary> all;
  for (const configuration& each : among.configurations) {
    const auto index = static_cast<int>(&each - among.configurations.data());
    summary one{.what = &each, .index = index};
    std::vector<double> bits, speeds, differences;
    for (const result& run : results) {
      if (run.configuration != each.name) continue;
      one.runs.push_back(run);
      bits.push_back(run.bits_per_byte);
      speeds.push_back(tokens_of(own, run.steps) / run.seconds);
      one.peak_bytes = std::max(one.peak_bytes, run.peak_bytes);
      one.flops_per_token = run.flops_per_token;
      for (const result& other : results)
        if (other.configuration == among.baseline().name && other.seed == run.seed)
          differences.push_back(run.bits_per_byte - other.bits_per_byte);
    }
    if (one.runs.empty()) continue;
    one.bits_per_byte = describe(bits);
    one.tokens_per_second = describe(speeds);
    one.difference = describe(differences);
    all.push_back(one);
  }
  return all;
}

void write_csv(const settings& own, const std::vector<summary>& all, const fs::path& path) {
  strata::write_file_atomically(path, [&](auto& output) {
    output.write(
        "configuration,seed,bits_per_byte,parameters,training_flops_per_token,steps,tokens,training_flops,"
        "training_seconds,tokens_per_second,peak_memory_bytes\n");
    for (const summary& each : all)
      for (const result& run : each.runs) {
        const double tokens = tokens_of(own, run.steps);
        // In JSON every number reads back as the same bits.
        const std::string row = nlohmann::json{run.configuration,
                                               run.seed,
                                               run.bits_per_byte,
                                               each.what->parameters,
                                               each.flops_per_token,
                                               run.steps,
                                               tokens,
                                               tokens * each.flops_per_token,
                                               run.seconds,
                                               tokens / run.seconds,
                                               run.peak_bytes}
                                    .dump();
        output.write(row.substr(1, row.size() - 2) + '\n');
      }
  });
}

}  // namespace experiments
