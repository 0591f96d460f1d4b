// Judges every row of the table in one process, and every broken policy after that.
//
//     node simulate.mjs FOLDER < table.json > verdicts.json
//
// FOLDER holds node_modules. The table is
//
//     { "rows": [{ "id", "request", "identity", "organization", "resourcePolicy" }], "mutants": [{ "id", "rows", "organization", "resourcePolicy", "identity" }] }
//
// where `organization` is a list of service control policies, or null for principals that none binds. A mutant is tried on the rows
// it names until one of them is decided in another way than by the table; the answer has that row, or null.
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

const { runSimulation } = createRequire(resolve(process.argv[2], 'package.json'))('@cloud-copilot/iam-simulate')

const everything = { name: 'Allow everything', policy: { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] } }

async function judge(row) {
  const answer = await runSimulation(
    {
      request: row.request,
      identityPolicies: row.identity ? row.identity : [everything],
      // Without FullAWSAccess among them service control policies allow nothing.
      serviceControlPolicies: row.organization ? [{ orgIdentifier: 'o-exampleorgid', policies: [everything, ...row.organization] }] : [],
      resourceControlPolicies: [],
      resourcePolicy: row.resourcePolicy ?? undefined
    },
    {}
  )
  if (answer.resultType === 'error') return { verdict: 'Error', why: JSON.stringify(answer.errors), deniedBy: [], ignored: [] }
  if (answer.resultType !== 'single') return { verdict: 'Error', why: `${answer.resultType}: name one resource`, deniedBy: [], ignored: [] }
  const analysis = answer.result.analysis
  const levels = analysis.scpAnalysis?.ouAnalysis ?? []
  const denies = [...levels.flatMap((level) => level.denyStatements), ...(analysis.identityAnalysis?.denyStatements ?? [])]
  return {
    verdict: answer.overallResult,
    why: '',
    deniedBy: denies.map((deny) => `${deny.policyId}/${deny.statement.statementObject.Sid}`),
    ignored: answer.result.ignoredContextKeys ?? []
  }
}

const table = JSON.parse(readFileSync(0, 'utf8'))
const verdicts = {}
for (const row of table.rows) verdicts[row.id] = await judge(row)

const rows = new Map(table.rows.map((row) => [row.id, row]))
const noticed = {}
for (const mutant of table.mutants) {
  noticed[mutant.id] = null
  for (const id of mutant.rows) {
    const row = rows.get(id)
    const { verdict } = await judge({ ...row, ...mutant.put })
    if ((verdict === 'Allowed') !== (verdicts[id].verdict === 'Allowed')) {
      noticed[mutant.id] = id
      break
    }
  }
}
process.stdout.write(JSON.stringify({ verdicts, noticed }))
