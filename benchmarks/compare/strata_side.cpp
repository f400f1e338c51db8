// The strata side of the comparison with the reference package. Each process runs one command and answers with one line
// of JSON. compare.py is the other side. Settings that both share are here, and `prepare` passes them on.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <strata/cpu.hpp>

#include "../cpu_device.hpp"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using strata::index_type;
using strata::token;
using seconds = std::chrono::duration<double>;
using timer = std::chrono::steady_clock;

constexpr int threads = 2;
constexpr index_type steps_prepared = 4, prompt_length = 512;
constexpr const char* weights_file = "weights.safetensors";
constexpr const char* batches_file = "batches.safetensors";

/// Bytes: VmRSS is what the process holds, VmHWM the most it ever held.
index_type memory_of_process(const std::string& wanted) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (index_type kilobytes = 0; word == wanted + ":" && status >> kilobytes) return 1024 * kilobytes;
  strata::fail("/proc/self/status has no line ", wanted, " to measure memory with");
}

/// Bytes 1 .. 255: the reference package never counts token 0 in a reconstruction.
std::vector<std::uint8_t> some_bytes() {
  const strata::random_source random(7);
  std::vector<std::uint8_t> bytes(1 << 16);
  for (std::size_t n = 0; n < bytes.size(); ++n) bytes[n] = static_cast<std::uint8_t>(1 + random.below(255, 0, n));
  return bytes;
}

template <const auto& D>
strata::training_options training_options(index_type batch) {
  strata::training_options options;
  options.batch = batch;
  options.length = D.max_length;
  options.schedule = {.peak = 1e-3, .final_fraction = 1, .warmup = 0};  // the same rate at every step
  return options;
}

/// The model as keyword arguments of the reference package.
template <const auto& D>
json reference_arguments() {
  using F = strata::facts<D>;
  json arguments = {{"num_tokens", F::vocabulary}, {"depth", F::depth}, {"seq_len", D.max_length}};
  for (const strata::level_facts& level : F::levels) {
    arguments["hierarchies"].push_back(level.compression);
    arguments["hierarchical_stride"].push_back(level.stride);
    arguments["dim"].push_back(level.dim);
    arguments["heads"].push_back(level.heads);
    arguments["dim_head"].push_back(level.head_dim);
    arguments["window_sizes"].push_back(level.full ? json() : json(level.span - 1));
    arguments["ff_mult"].push_back(level.hidden / level.dim);
  }
  return arguments;
}

template <class Losses>
json losses_of(const strata::loss_report<Losses>& report) {
  json losses;
  losses["total"] = report.total;
  for (std::size_t j = 0; j < strata::loss_values<Losses>::count; ++j)
    losses[std::string(strata::loss_values<Losses>::names[j])] = report.values[j];
  return losses;
}

/// One model and the folder that both sides share.
template <const auto& D>
struct side {
  fs::path folder;
  strata::training_options options;
  strata::cpu backend{{.threads = threads}};

  /// Writes the weights and the batches that a trainer starts with.
  json prepare() {
    fs::create_directories(folder);
    const strata::transformer<D, strata::cpu, strata::inference> model(backend, options.seed);
    strata::save_weights(model, folder / weights_file);

    const auto bytes = some_bytes();
    const index_type window = options.length + 1;
    std::vector<token> ids(static_cast<std::size_t>(steps_prepared * options.batch * window));
    for (index_type step = 0; step < steps_prepared; ++step)
      for (index_type row = 0; row < options.batch; ++row)
        strata::crop(bytes, strata::random_source(options.seed), static_cast<std::uint64_t>(step),
                     static_cast<std::uint32_t>(row),
                     std::span(ids).subspan(static_cast<std::size_t>((step * options.batch + row) * window),
                                            static_cast<std::size_t>(window)));
    strata::safetensors_writer writer;
    writer.add("ids", {steps_prepared, options.batch, window}, ids.data());
    writer.write(folder / batches_file);

    json training;
    strata::for_each_option(options, [&](const char* name, const auto& value) { training[name] = value; });
    return {{"compiler", __VERSION__},
            {"threads", threads},
            {"prompt", prompt_length},
            {"weights", folder / weights_file},
            {"batches", folder / batches_file},
            {"arguments", reference_arguments<D>()},
            {"training", training},
            {"training_flops",
             strata::cost<D>::training_flops_per_token * static_cast<double>(options.batch * options.length)}};
  }

  /// The losses of the first batch.
  json losses() {
    strata::transformer<D, strata::cpu> model(backend);
    strata::load_weights(model, folder / weights_file);
    const auto ids = batches();
    return losses_of(model.losses({ids.data(), {options.batch, options.length + 1}}));
  }

  /// Seconds and losses of `count` training steps, the memory before the model, the largest memory, and the peak in
  /// FLOP/s.
  json training(index_type count) {
    json result = {{"memory_before", memory_of_process("VmRSS")}, {"seconds", {}}, {"losses", {}}};
    strata::trainer<D, strata::cpu> trainer(backend, options);
    const auto bytes = some_bytes();
    for (index_type step = 0; step < count; ++step) {
      const auto start = timer::now();
      const auto report = trainer.train_step(bytes);
      result["seconds"].push_back(seconds(timer::now() - start).count());
      result["losses"].push_back(report.loss.total);
    }
    result["memory_peak"] = memory_of_process("VmHWM");
    result["peak"] = measuring::cpu_device::peak_flops(backend);
    return result;
  }

  /// Seconds from the start until each of `count` tokens was generated after the prompt.
  json generation(index_type count) {
    strata::transformer<D, strata::cpu, strata::inference> model(backend);
    strata::load_weights(model, folder / weights_file);
    strata::generator writer(model);
    const auto ids = batches();
    const std::vector<std::vector<token>> prompts{{ids.begin(), ids.begin() + prompt_length}};
    json result;
    const auto start = timer::now();
    writer.generate(prompts, count, {},
                    [&](index_type, token) { result["generated"].push_back(seconds(timer::now() - start).count()); });
    return result;
  }

  std::vector<token> batches() const {
    return strata::safetensors_file::read(folder / batches_file).template values<token>("ids");
  }
};

template <const auto& D>
json answer(const std::string& command, const fs::path& folder, index_type batch, index_type count) {
  side<D> own{folder, training_options<D>(batch)};
  if (command == "prepare") return own.prepare();
  if (command == "losses") return own.losses();
  if (command == "training") return own.training(count);
  if (command == "generation") return own.generation(count);
  strata::fail("no command is called '", command, "'; there are: prepare losses training generation");
}

json answer(const std::string& command, const std::string& model, const fs::path& folder, index_type count) {
  if (model == "small") return answer<strata::presets::small>(command, folder, 8, count);
  if (model == "base") return answer<strata::presets::base>(command, folder, 4, count);
  strata::fail("no model is called '", model, "'; there are: small base");
}

}  // namespace

int main(int argc, char** argv) try {
  strata::keep_freed_memory();
  if (argc != 5) strata::fail("usage: strata_side COMMAND MODEL FOLDER COUNT, but ", argc - 1, " arguments were given");
  std::puts(answer(argv[1], argv[2], argv[3], std::stol(argv[4])).dump().c_str());
} catch (const std::exception& problem) {
  std::fprintf(stderr, "strata_side: %s\n", problem.what());
  return 1;
}
