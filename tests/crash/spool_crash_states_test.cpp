// Every state that a crash may leave of a recording, recovered (never-lose L7, L10, L19; house style "Crash"), and the
// planted bugs that this must find. crash/explorer.hpp says what is asked of each state.
//
// MC_CRASH_STATES sets how many distinct states are looked for; from 100,000 on, at least 5,000 of each class.
#include <gtest/gtest.h>

#include <cstdlib>

#include "crash/explorer.hpp"
#include "crash/mutants.hpp"

namespace mc::crash {
namespace {

std::size_t wanted_states() {
  const char* text = std::getenv("MC_CRASH_STATES");
  return text == nullptr ? 4000 : std::strtoull(text, nullptr, 10);
}

// Shape after shape, each as it was recorded and with its publisher running late.
void explore_all(Explorer& explorer, std::uint32_t max_shapes) {
  for (std::uint32_t number = 0; number < max_shapes && !explorer.enough() && explorer.findings().empty(); ++number) {
    const Recorded recorded = record(shape_of(number));
    ASSERT_TRUE(recorded.whole) << "shape " << number;
    ASSERT_GT(recorded.acknowledged.size(), 30U);
    explorer.explore(recorded, recorded.log, number);
    for (std::uint32_t late = 1; late <= 6; ++late) {
      explorer.explore(recorded, interleave(recorded.log, number * 8 + late), number + late);
    }
  }
}

TEST(CrashStates, EveryAcknowledgedFrameIsFoundAgain) {
  const std::size_t wanted = wanted_states();
  Explorer explorer(
      {.states = wanted, .per_class = wanted >= 100'000 ? 5000U : 0U, .most_of_one = wanted / 6, .recovery_wrap = {}});
  explore_all(explorer, 1000);
  std::printf("%s%zu trees checked, with what was acknowledged\n", explorer.table().c_str(), explorer.checked());
  for (const std::string& finding : explorer.findings()) ADD_FAILURE() << finding;
  EXPECT_TRUE(explorer.enough()) << "not so many states";
}

TEST(CrashStates, InterleavingChangesTheOrderOnly) {
  const Recorded recorded = record(shape_of(1));
  const OpLog late = interleave(recorded.log, 5);
  ASSERT_EQ(late.size(), recorded.log.size());
  const auto end = [&](const OpLog& log) { return SimFileSystem::after_crash(log, {log.size(), {}, 0}).tree(); };
  EXPECT_EQ(end(late), end(recorded.log));
  EXPECT_NE(SimFileSystem::after_crash(late, {late.size() / 2, {}, 0}).tree(),
            SimFileSystem::after_crash(recorded.log, {late.size() / 2, {}, 0}).tree());
}

class PlantedBug : public testing::TestWithParam<Mutant> {};

TEST_P(PlantedBug, IsFound) {
  const Mutant mutant = GetParam();
  const bool in_recovery = mutant == Mutant::recovered_chunk_not_synced;
  const Wrap wrap = [mutant](SimFileSystem& fs) { return plant(mutant, fs); };
  Explorer explorer({.states = 50'000, .max_findings = 1, .recovery_wrap = in_recovery ? wrap : Wrap{}});
  for (std::uint32_t number = 0; number < 8 && explorer.findings().empty(); ++number) {
    const Recorded recorded = record(shape_of(number), in_recovery ? Wrap{} : wrap);
    explorer.explore(recorded, recorded.log, number);
  }
  ASSERT_FALSE(explorer.findings().empty()) << "the mutant survived " << explorer.distinct() << " states";
  std::printf("found after %zu states: %s\n", explorer.distinct(), explorer.findings().front().c_str());
}

INSTANTIATE_TEST_SUITE_P(Each, PlantedBug, testing::ValuesIn(kMutants),
                         [](const auto& mutant) { return std::string(name(mutant.param)); });

}  // namespace
}  // namespace mc::crash
