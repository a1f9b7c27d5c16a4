import { testSeeds } from "./testSeeds.ts"

testSeeds(76, 100)
